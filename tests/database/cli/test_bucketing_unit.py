"""The bucketing unit of a flag in a terminal: create, update, list, show, explain, test."""

from __future__ import annotations

import hashlib

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import override_settings

from flagstaff import explain
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.models_of_others import flag_fields, model_of
from tests.support.terminals import document, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]

REASSIGNED = (
    "new_checkout: the new unit reassigns every user; if the flag is on for a percentage, some "
    "users gain it and others lose it\n"
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


def test_update_to_the_same_unit_reassigns_no_user() -> None:
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
        ("CommandError: pass --description, --kind, --bucket-by, --owner, --tag or --review-on\n"),
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
        ("organization", 0, "On for 25 % (by organization)."),
        ("organization", 1, "On for 25 % (by organization) and 1 allowed user."),
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


def test_summary_shortens_a_long_unit() -> None:
    set_unit("x" * 41)
    summary = document("show", "new_checkout")["summary"]
    assert summary == f"On for 25 % (by {'x' * 23}…) and 1 allowed user."


def test_show_has_the_unit() -> None:
    set_unit("visitor")
    assert "bucket_by        visitor\n" in typed("flags show new_checkout")


# Explain and test.


def bucket(unit: str) -> int:
    return int(hashlib.sha256(f"new_checkout:{unit}".encode()).hexdigest(), 16) % 100


def deciding(line: str) -> tuple[str, str]:
    """Returns the name and the reason of the step that decides."""
    [step] = [step for step in document(*line.split())["steps"] if step["decides"]]
    return step["name"], step["why"]


@pytest.mark.parametrize("unit", ["user", "visitor", "organization"])
def test_explanation_has_the_unit(unit: str) -> None:
    set_unit(unit)
    assert explain("new_checkout", 2).bucket_by == unit
    assert document("explain", "new_checkout", "bob")["bucket_by"] == unit


def test_explanation_of_an_unknown_flag_has_no_unit() -> None:
    assert explain("no_such_flag", 2).bucket_by is None


@pytest.mark.parametrize("visitor", ["8f3a", "7", "1e5", "true"])
def test_explain_shows_the_bucket_of_the_visitor(visitor: str) -> None:
    set_unit("visitor")
    shown = typed(f"flags explain new_checkout --anonymous --context visitor={visitor}")
    found = bucket(visitor)
    word = "below" if found < 25 else "not below"
    assert f"It is bucketed by visitor, bucket {found}." in shown.splitlines()[0]
    assert f"the bucket of this visitor is {found}\n" in shown
    assert f"{found} is {word} 25 (by visitor)\n" in shown


def test_explain_without_a_visitor_says_how_to_pass_one() -> None:
    set_unit("visitor")
    assert deciding("explain new_checkout bob") == (
        "visitor",
        "there is no visitor in the context (pass --context visitor=ID)",
    )
    first, *_ = typed("flags explain new_checkout bob").splitlines()
    assert first.endswith("found by username. It is bucketed by visitor, which is missing.")


def test_explain_without_the_attribute_says_how_to_pass_it() -> None:
    set_unit("organization")
    assert deciding("explain new_checkout bob") == (
        "organization",
        "organization is missing (pass --context organization=VALUE)",
    )


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name"]})
def test_explain_reads_a_unit_that_is_a_column() -> None:
    set_unit("last_name")
    User.objects.filter(username="bob").update(last_name="Bell")
    assert document("explain", "new_checkout", "bob")["bucket"] == bucket("Bell")


def test_rule_without_its_unit_says_how_to_pass_it() -> None:
    rule = {
        "conditions": [{"attribute": "is_authenticated", "operator": "in", "values": [True]}],
        "rollout_percent": 99,
    }
    set_unit("visitor", rules=[rule])
    assert deciding("explain new_checkout bob") == (
        "rule 1",
        (
            "99 %: matches, but there is no visitor in the context (pass --context visitor=ID), "
            "so the flag is off"
        ),
    )
    _, why = deciding("explain new_checkout bob --context visitor=8f3a")
    assert why == f"99 %: matches; {bucket('8f3a')} is below 99 (by visitor)"


def test_test_says_which_unit_decides() -> None:
    set_unit("organization")
    shown = typed("flags test new_checkout bob --context organization=acme")
    assert "below 25 (by organization)" in shown


def test_allowed_user_needs_no_unit() -> None:
    set_unit("visitor")
    assert deciding("explain new_checkout alice") == ("allowed", "the user is an allowed user")
