"""The owner, the tags and the review date of a flag in a terminal: create, update, list, show."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model

from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.models_of_others import flag_fields, model_of
from tests.support.terminals import document, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]

OPTIONS = "--owner payments --tag checkout --tag mobile --review-on 2027-03-01"
OWNED: dict[str, Any] = {
    "owner": "payments",
    "tags": ["checkout", "mobile"],
    "review_on": date(2027, 3, 1),
}


@pytest.fixture
def owned(cli_shop: None) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(**OWNED)
    FeatureFlag.objects.filter(key="dark_mode").update(owner="search", tags=["mobile"])


def stored(key: str = "new_checkout") -> dict[str, Any]:
    return dict(FeatureFlag.objects.filter(key=key).values(*OWNED).get())


def listed(*arguments: str) -> list[str]:
    return [record["key"] for record in document("list", *arguments)]


# Create and update.


def test_flag_is_created_with_the_three_fields() -> None:
    ran = run(f"create new_search {OPTIONS}")
    assert ran.status == 0
    assert (
        'new_search: created, owner "payments", tags ["checkout", "mobile"], '
        'review_on "2027-03-01"\n'
    ) in ran.err
    assert stored("new_search") == OWNED


def test_update_sets_the_three_fields() -> None:
    ran = run(f"update new_checkout {OPTIONS}")
    for change in (
        'owner "" → "payments"',
        'tags [] → ["checkout", "mobile"]',
        'review_on null → "2027-03-01"',
    ):
        assert f"new_checkout: {change}\n" in ran.err
    assert stored() == OWNED


@pytest.mark.usefixtures("owned")
def test_update_of_tags_replaces_them_and_keeps_the_rest() -> None:
    assert run("update new_checkout --tag q3").status == 0
    assert stored() == {**OWNED, "tags": ["q3"]}


@pytest.mark.usefixtures("owned")
def test_empty_texts_clear_the_three_fields() -> None:
    assert run('update new_checkout --owner "" --tag "" --review-on ""').status == 0
    assert stored() == {"owner": "", "tags": [], "review_on": None}


@pytest.mark.usefixtures("owned")
def test_undo_brings_the_three_fields_back() -> None:
    run('update new_checkout --owner "" --tag "" --review-on ""')
    assert run("undo new_checkout").status == 0
    assert stored() == OWNED


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ("--tag a,b", 4, 'tags: the tag "a,b" contains a comma; write two tags'),
        ('--tag a --tag ""', 4, "tags: tag 2 is empty; remove it"),
        (f"--owner {'x' * 101}", 4, "owner: Ensure this value has at most 100 characters"),
        ("--review-on 1.3.2027", 1, "expected a date such as 2027-03-01, not '1.3.2027'"),
    ],
)
def test_unusable_option_is_refused(options: str, status: int, message: str) -> None:
    ran = run(f"update new_checkout {options}")
    assert ran.status == status
    assert message in ran.err


# List and show.


@pytest.mark.usefixtures("owned")
@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--owner", "payments"], ["new_checkout"]),
        (["--owner", "pay"], []),
        (["--owner", ""], ["beta_reviews", "search_v2", "summer_banner"]),
        (["--tag", "mobile"], ["dark_mode", "new_checkout"]),
        (["--tag", "mobile", "--tag", "checkout"], ["new_checkout"]),
        (["--tag", "mobile", "--owner", "search"], ["dark_mode"]),
        (["--tag", "mob"], []),
        (["--tag", "mobile", "--state", "off"], []),
    ],
)
def test_list_selects_by_owner_and_tag(options: list[str], keys: list[str]) -> None:
    assert listed(*options) == keys


@pytest.mark.usefixtures("owned")
def test_list_selects_by_tag_on_a_database_that_cannot_look_into_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection.features, "supports_json_field_contains", False)
    assert listed("--tag", "mobile", "--tag", "checkout") == ["new_checkout"]
    assert listed("--tag", "mob") == []


def test_list_without_a_match_says_so() -> None:
    assert run("list --owner nobody").err == "no matching flags\n"


@pytest.mark.usefixtures("owned")
def test_list_on_a_terminal_shows_owners_if_a_flag_has_one() -> None:
    header, *_rows = typed("flags list").splitlines()
    assert header.split()[4:7] == ["KIND", "OWNER", "CHANGED"]


def test_list_on_a_terminal_shows_no_owners_without_one() -> None:
    assert "OWNER" not in typed("flags list")


@pytest.mark.usefixtures("owned")
def test_list_in_a_pipe_keeps_its_columns() -> None:
    columns = run("list").out.splitlines()[0].count("\t")
    FeatureFlag.objects.update(owner="")
    assert run("list").out.splitlines()[0].count("\t") == columns


@pytest.mark.usefixtures("owned")
def test_list_and_show_have_the_three_fields_in_json() -> None:
    [record] = document("list", "--owner", "payments")
    expected = {**OWNED, "review_on": "2027-03-01"}
    assert {name: record[name] for name in OWNED} == expected
    shown = document("show", "new_checkout")
    assert {name: shown[name] for name in OWNED} == expected


@pytest.mark.usefixtures("owned")
def test_show_has_the_three_fields() -> None:
    lines = [line.split(None, 1) for line in typed("flags show new_checkout").splitlines()]
    shown = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    assert {name: shown[name] for name in OWNED} == {
        "owner": "payments",
        "tags": "checkout, mobile",
        "review_on": "2027-03-01",
    }


def test_show_of_tags_that_are_no_list_of_texts_has_json() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET tags = '{\"a\": 1}'")
    assert 'tags             {"a": 1}' in typed("flags show new_checkout")


# A project's own model.


@pytest.fixture
def model_without_the_fields(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    model: type[Model] = model_of("Switch", flag_fields())
    with connection.schema_editor() as editor:
        editor.create_model(model)
    monkeypatch.setattr(Conf, "flag_model", model)
    return model


@pytest.mark.usefixtures("model_without_the_fields")
@pytest.mark.parametrize("verb", ["create", "update"])
@pytest.mark.parametrize(
    ("option", "name", "field"),
    [
        ("--owner a", "owners", "owner"),
        ("--tag a", "tags", "tags"),
        ("--review-on 2027-03-01", "review dates", "review_on"),
    ],
)
def test_option_without_a_column_for_it_says_what_to_add(
    verb: str, option: str, name: str, field: str
) -> None:
    run("create new_checkout")
    ran = run(f"{verb} new_checkout {option}")
    assert (ran.status, ran.err) == (
        4,
        (
            f"CommandError: refused: the flag model of this project has no column for {name}; add "
            f"the field `{field}`, and run makemigrations and migrate\n"
        ),
    )


@pytest.mark.usefixtures("model_without_the_fields")
@pytest.mark.parametrize("verb", ["list", "stale"])
@pytest.mark.parametrize(
    ("option", "names", "field"),
    [("--owner", "owners", "owner"), ("--tag", "tags", "tags")],
)
def test_filter_by_a_column_that_the_model_lacks_is_a_usage_error(
    verb: str, option: str, names: str, field: str
) -> None:
    ran = run(f"{verb} {option} a")
    assert (ran.status, ran.out, ran.err) == (
        2,
        "",
        (
            f"CommandError: the flag model of this project has no column for {names}; add the "
            f"field `{field}`, or leave out {option}\n"
        ),
    )
