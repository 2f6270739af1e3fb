"""The bucketing unit of a flag in a terminal: create, update, list, show, explain, test."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Model

from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.models_of_others import flag_fields, model_of
from tests.terminals import document, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]

REASSIGNED = (
    "new_checkout: every user is reassigned at once: some gain the flag, and others lose it\n"
)


def set_unit(unit: str, **fields: object) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(bucket_by=unit, **fields)


def line_of_list(key: str) -> str:
    [line] = [line for line in typed("flags list").splitlines() if line.startswith(key)]
    return line


# Create and update.


def test_flag_is_created_with_a_unit() -> None:
    ran = run("create new_search --bucket-by organization")
    assert 'new_search: created, bucket_by "organization"\n' in ran.err
    assert FeatureFlag.objects.get(key="new_search").bucket_by == "organization"


def test_update_of_the_unit_says_that_users_are_reassigned() -> None:
    ran = run("update new_checkout --bucket-by visitor")
    assert ran.status == 0
    assert 'new_checkout: bucket_by "user" → "visitor"\n' in ran.err
    assert REASSIGNED in ran.err
    assert "On for 25 % of visitors and 1 allowed user.\n" in ran.err


def test_update_to_the_same_unit_reassigns_nobody() -> None:
    assert REASSIGNED not in run("update new_checkout --bucket-by user").err


def test_undo_of_a_unit_says_that_users_are_reassigned() -> None:
    run("update new_checkout --bucket-by visitor")
    assert REASSIGNED in run("undo new_checkout").err


def test_update_of_other_fields_keeps_the_unit() -> None:
    set_unit("visitor")
    assert run("update new_checkout --description Checkout --kind ops").status == 0
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.description, flag.kind, flag.bucket_by) == ("Checkout", "ops", "visitor")


def test_update_of_nothing_is_a_usage_error() -> None:
    ran = run("update new_checkout")
    assert (ran.status, ran.err) == (
        2,
        "CommandError: pass --description, --kind or --bucket-by\n",
    )


def test_unusable_unit_is_refused() -> None:
    ran = run("update new_checkout --bucket-by is_staff")
    assert ran.status == 4
    assert '"is_staff" cannot be the bucketing unit, because it is built in' in ran.err


@pytest.fixture
def model_without_units(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    model: type[Model] = model_of("Switch", flag_fields())
    with connection.schema_editor() as editor:
        editor.create_model(model)
    monkeypatch.setattr(Conf, "flag_model", model)
    return model


@pytest.mark.usefixtures("model_without_units")
@pytest.mark.parametrize("verb", ["create", "update"])
def test_unit_without_a_column_for_it_says_what_to_add(verb: str) -> None:
    run("create new_checkout")
    ran = run(f"{verb} new_checkout --bucket-by visitor")
    assert (ran.status, ran.err) == (
        4,
        (
            "CommandError: refused: the flag model of this project has no column for bucketing "
            "units; add the field `bucket_by`, and run makemigrations and migrate\n"
        ),
    )


# List and show.


def test_list_shows_no_units_while_all_flags_are_bucketed_by_user() -> None:
    assert "BUCKETED BY" not in typed("flags list")


def test_list_on_a_terminal_shows_the_units_of_all_flags_if_one_has_another() -> None:
    set_unit("organization")
    assert "BUCKETED BY" in typed("flags list")
    assert "25 % by organization     25 %  organization  " in line_of_list("new_checkout")
    assert "  user  " in line_of_list("dark_mode")


def test_list_in_a_pipe_keeps_its_columns() -> None:
    columns = run("list").out.splitlines()[0].count("\t")
    set_unit("organization")
    assert run("list").out.splitlines()[0].count("\t") == columns


@pytest.mark.parametrize(
    ("unit", "users", "sentence"),
    [
        ("visitor", 0, "On for 25 % of visitors."),
        ("visitor", 1, "On for 25 % of visitors and 1 allowed user."),
        ("organization", 0, "On for 25 % by organization."),
        ("organization", 1, "On for 25 % by organization and 1 allowed user."),
        ("user", 0, "On for 25 % of all users."),
    ],
)
def test_summary_says_what_the_rollout_counts(unit: str, users: int, sentence: str) -> None:
    set_unit(unit)
    if not users:
        FeatureFlag.objects.get(key="new_checkout").allowed_users.clear()
    assert document("show", "new_checkout")["summary"] == sentence


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        (0, "The rules decide first. If no rule matches, on for 25 % of visitors."),
        (
            1,
            (
                "On for 1 allowed user. For all others, the rules decide first. If no rule "
                "matches, on for 25 % of visitors."
            ),
        ),
    ],
)
def test_summary_of_a_flag_with_rules_says_what_the_rollout_counts(
    users: int, sentence: str
) -> None:
    staff = {"attribute": "is_staff", "operator": "in", "values": [True]}
    set_unit("visitor", rules=[{"conditions": [staff]}])
    if not users:
        FeatureFlag.objects.get(key="new_checkout").allowed_users.clear()
    assert document("show", "new_checkout")["summary"] == sentence


@pytest.mark.parametrize(
    ("percent", "enabled", "sentence"),
    [(100, True, "On for all users."), (25, False, "Off for all users.")],
)
def test_summary_without_a_percentage_does_not_name_the_unit(
    percent: int, enabled: bool, sentence: str
) -> None:
    set_unit("visitor", rollout_percent=percent, enabled=enabled)
    assert document("show", "new_checkout")["summary"] == sentence


def test_show_has_the_unit() -> None:
    set_unit("visitor")
    assert "bucket_by        visitor\n" in typed("flags show new_checkout")
