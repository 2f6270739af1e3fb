"""The bucketing unit, the owner, the tags and the review date of a flag in a terminal."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings

from flagstaff import explain
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import bucket_of
from tests.support.terminals import document, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]

REASSIGNED = (
    "new_checkout: the new unit reassigns every user; where a percentage decides, some users get "
    "another result\n"
)


def set_unit(unit: str, **fields: object) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(bucket_by=unit, **fields)


def test_create_and_unit_set_the_unit_and_say_that_users_are_reassigned() -> None:
    created = run("create new_search --bucket-by organization").err
    assert created.startswith('new_search: created, bucketing unit organization, kind "release"\n')
    assert FeatureFlag.objects.get(key="new_search").bucket_by == "organization"
    ran = run("unit new_checkout visitor")
    assert ran.status == 0
    assert "new_checkout: bucketing unit user → visitor\n" in ran.err
    assert REASSIGNED in ran.err
    assert "On for 25 % of visitors and 1 allowed user.\n" in ran.err
    assert REASSIGNED not in run("unit new_checkout visitor").err
    assert REASSIGNED in run("undo new_checkout").err
    set_unit("visitor")
    assert run("details new_checkout --description Checkout --kind ops").status == 0
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.description, flag.kind, flag.bucket_by) == ("Checkout", "ops", "visitor")


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (
            "details new_checkout",
            2,
            "pass at least one of --description, --kind, --client-side, --owner",
        ),
        ("unit new_checkout is_staff", 4, "cannot be the bucketing unit, because it is built in"),
        ('details new_checkout --tag a --tag ""', 4, "tags: tag 2 is empty; remove it"),
        (
            "details new_checkout --review-on 1.3.2027",
            1,
            "expected a date such as 2027-03-01, not '1.3.2027'",
        ),
    ],
)
def test_unusable_argument_is_refused(line: str, status: int, message: str) -> None:
    ran = run(line)
    assert (ran.status, message in ran.err) == (status, True)


def test_list_shows_the_units_on_a_terminal_if_a_flag_has_another() -> None:
    assert "BUCKETING UNIT" not in typed("flags list")
    columns = run("list").out.splitlines()[0].count("\t")
    set_unit("organization")
    lines = {line.split()[0]: line for line in typed("flags list").splitlines()}
    assert "BUCKETING UNIT" in lines["KEY"]
    assert "25 % by organization     25 %  organization  " in lines["new_checkout"]
    assert "  user  " in lines["dark_mode"]
    assert run("list").out.splitlines()[0].count("\t") == columns


RULES = [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}]
BY_RULES = "rules decide first. If no rule matches, on for 25 % of visitors."
FOR_OTHERS = "For all others, the rules decide first. If no rule matches, on for 25 %."


@pytest.mark.parametrize(
    ("fields", "users", "sentence"),
    [
        ({}, 0, "On for 25 % of visitors."),
        ({}, 1, "On for 25 % of visitors and 1 allowed user."),
        ({"unit": "organization"}, 0, "On for 25 % (by organization)."),
        ({"unit": "organization"}, 1, "On for 25 % (by organization) and 1 allowed user."),
        ({"unit": "x" * 41}, 0, f"On for 25 % (by {'x' * 23}…)."),
        ({"unit": "user"}, 0, "On for 25 % of all users."),
        ({"rollout_percent": 100}, 1, "On for all users, and for everybody who is not logged in."),
        ({"enabled": False, "rules": RULES}, 1, "Off for all users."),
        ({"rules": RULES}, 0, f"The {BY_RULES}"),
        ({"rules": RULES}, 1, f"On for 1 allowed user. For all others, the {BY_RULES}"),
        ({"unit": "user", "rules": RULES}, 1, f"On for 1 allowed user. {FOR_OTHERS}"),
        (
            {"unit": "user", "rules": RULES, "rollout_percent": 0},
            0,
            "The rules decide first. If no rule matches, on for 0 %.",
        ),
    ],
)
def test_summary_says_what_the_rollout_counts(
    fields: dict[str, Any], users: int, sentence: str
) -> None:
    set_unit(**{"unit": "visitor", **fields})
    if not users:
        FeatureFlag.objects.get(key="new_checkout").allowed_users.clear()
    assert document("show", "new_checkout")["summary"] == sentence


def deciding(line: str) -> tuple[str, str]:
    """Returns the name and the reason of the step that decides."""
    [step] = [step for step in document(*line.split())["steps"] if step["decides"]]
    return step["name"], step["text"]


@pytest.mark.parametrize("unit", ["user", "visitor", "organization"])
def test_show_and_explanation_have_the_unit(unit: str) -> None:
    set_unit(unit)
    assert f"bucket_by        {unit}\n" in typed("flags show new_checkout")
    assert explain("new_checkout", 2).bucket_by == unit
    assert document("explain", "new_checkout", "bob")["bucket_by"] == unit
    assert explain("no_such_flag", 2).bucket_by is None


@pytest.mark.parametrize("visitor", ["8f3a", "7", "1e5", "true"])
def test_explain_shows_the_bucket_of_the_visitor(visitor: str) -> None:
    set_unit("visitor")
    shown = typed(f"flags explain new_checkout --anonymous --context visitor={visitor}")
    found = bucket_of("new_checkout", visitor)
    word = "below" if found < 25 else "not below"
    assert f"It is bucketed by visitor, bucket {found}." in shown.splitlines()[0]
    assert f"the bucket of this visitor is {found}\n" in shown
    assert f"{found} is {word} 25 (by visitor)\n" in shown


@pytest.mark.parametrize(
    ("unit", "missing", "option"),
    [
        ("visitor", "there is no visitor in the context", "visitor=ID"),
        ("organization", "organization is missing", "organization=VALUE"),
    ],
)
def test_explain_without_the_unit_says_how_to_pass_it(unit: str, missing: str, option: str) -> None:
    set_unit(unit)
    hint = f" (pass --context {option})"
    assert deciding("explain new_checkout bob") == (unit, missing + hint)
    first, *_ = typed("flags explain new_checkout bob").splitlines()
    assert first.endswith(f"found by username. It is bucketed by {unit}, which is missing.")
    anyone = {"attribute": "is_authenticated", "operator": "in", "values": [True]}
    set_unit(unit, rules=[{"conditions": [anyone], "rollout_percent": 99}])
    shown = f"99 %: matches, but {missing}, so the flag is off{hint}"
    assert deciding("explain new_checkout bob") == ("rule 1", shown)
    found = bucket_of("new_checkout", "8f3a")
    _, why = deciding(f"explain new_checkout bob --context {unit}=8f3a")
    assert why == f"99 %: matches; {found} is below 99 (by {unit})"


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name"]})
def test_explain_reads_a_unit_that_is_a_column() -> None:
    set_unit("last_name")
    User.objects.filter(username="bob").update(last_name="Bell")
    assert document("explain", "new_checkout", "bob")["bucket"] == bucket_of("new_checkout", "Bell")


def test_explain_says_which_unit_decides_unless_the_user_is_allowed() -> None:
    set_unit("organization")
    shown = typed("flags explain new_checkout bob --context organization=acme")
    assert "below 25 (by organization)" in shown
    assert deciding("explain new_checkout alice") == ("allowed", "the user is an allowed user")


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


def test_create_and_details_set_the_three_fields() -> None:
    assert run(f"create new_search {OPTIONS}").status == 0
    assert stored("new_search") == OWNED
    ran = run(f"details new_checkout {OPTIONS}")
    assert ran.err.startswith(
        'new_checkout: owner "" → "payments", tags [] → ["checkout", "mobile"], '
        'review on null → "2027-03-01"\n'
    )
    assert stored() == OWNED


@pytest.mark.usefixtures("owned")
def test_details_replaces_tags_and_empty_texts_clear_the_three_fields() -> None:
    assert run("details new_checkout --tag q3").status == 0
    assert stored() == {**OWNED, "tags": ["q3"]}
    assert run('details new_checkout --owner "" --tag "" --review-on ""').status == 0
    assert stored() == {"owner": "", "tags": [], "review_on": None}


@pytest.mark.usefixtures("owned")
@pytest.mark.parametrize("in_sql", [True, False], ids=["in SQL", "in Python"])
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
def test_list_selects_by_owner_and_tag(
    options: list[str], keys: list[str], in_sql: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.features, "supports_json_field_contains", in_sql)
    assert [record["key"] for record in document("list", *options)] == keys


@pytest.mark.usefixtures("owned")
def test_list_shows_owners_on_a_terminal_if_a_flag_has_one() -> None:
    header, *_rows = typed("flags list").splitlines()
    assert header.split()[4:7] == ["KIND", "OWNER", "CHANGED"]
    columns = run("list").out.splitlines()[0].count("\t")
    FeatureFlag.objects.update(owner="")
    assert "OWNER" not in typed("flags list")
    assert run("list").out.splitlines()[0].count("\t") == columns
    assert run("list --owner nobody").err == "no matching flags\n"


@pytest.mark.usefixtures("owned")
def test_list_and_show_have_the_three_fields() -> None:
    [record] = document("list", "--owner", "payments")
    expected = {**OWNED, "review_on": "2027-03-01"}
    for found in (record, document("show", "new_checkout")):
        assert {name: found[name] for name in OWNED} == expected
    lines = [line.split(None, 1) for line in typed("flags show new_checkout").splitlines()]
    shown = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    assert {name: shown[name] for name in OWNED} == {**expected, "tags": "checkout, mobile"}
    # Tags that are no list of texts are shown as JSON.
    FeatureFlag.objects.update(tags={"a": 1})
    assert 'tags             {"a": 1}' in typed("flags show new_checkout")
