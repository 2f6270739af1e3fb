"""`flags impact` of a value, and what a dry run and a change of a value say about the users."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.conditions import condition
from tests.support.terminals import document, flags, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]

RULES = [{"name": "staff", "conditions": [condition("is_staff", "in", True)], "value": 50}]
AT_CALLS = [{"conditions": [condition("country", "in", "DE")], "value": 20}]


@pytest.fixture(autouse=True)
def value() -> None:
    """A value that 3 of 10 users get by a rule."""
    User.objects.all().delete()
    User.objects.bulk_create(User(username=f"u{one}", is_staff=one < 3) for one in range(10))
    changes.create_value("max_items", 10, rules=RULES)


def test_impact_of_a_value_says_who_gets_which_result_now() -> None:
    sentence, _, *lines = typed("flags impact max_items").splitlines()
    assert sentence == "3 of 10 users have another value by a rule."
    assert [re.sub("  +", " ", line) for line in lines] == [
        "value max_items",
        'users of each result rule 1 ("staff"): 3 of 3; the value itself: 7 of 10',
        "anonymous users not counted",
    ]


@pytest.mark.parametrize(
    ("arguments", "changed", "others"),
    [
        (["--rules", "[]"], 3, 0),
        (["--value", "50"], 7, 0),
        (["--value", "11"], 7, 3),
        (["--value", "12", "--rules", "[]"], 10, 0),
        (["--bucket-by", "visitor"], 0, 3),
    ],
)
def test_impact_of_other_fields_counts_the_users_who_get_another_value(
    arguments: list[str], changed: int, others: int
) -> None:
    found = document("impact", "max_items", *arguments, "--sample", "2")
    assert (found["users"], found["changed"], found["others"]) == (10, changed, others)
    assert len(found["sample"]) == min(changed, 2)


def test_impact_lists_users_whose_value_changes() -> None:
    shown = typed("flags impact max_items --rules []")
    assert re.search("for example +u0, u1, u2", shown)


def test_impact_is_at_least_a_number_if_only_calls_know_the_rest() -> None:
    KeyValueStore.objects.update(rules=[*RULES, *AT_CALLS])
    assert typed("flags impact max_items").startswith("At least 3 of 10 users have another value")


def test_impact_takes_a_percentage_for_flags_only() -> None:
    changes.create("new_checkout")
    assert flags("impact", "max_items", "5").err == (
        "CommandError: max_items is a value: pass --rules or --value\n"
    )
    for arguments in ([], ["5", "--rules", "[]"]):
        assert flags("impact", "new_checkout", *arguments).err == (
            "CommandError: new_checkout is a flag: pass PERCENT and nothing else\n"
        )
    assert "there is no flag 'missing'" in flags("impact", "missing").err


def dry_run(*arguments: str) -> tuple[Any, str]:
    """Returns the impact in the document, and what a terminal shows."""
    found = document("value", *arguments, "--dry-run")
    return found["impact"], flags("value", *arguments, "--dry-run").err


def test_dry_run_of_a_value_has_its_impact() -> None:
    found, err = dry_run("set", "max_items", "11")
    assert (found["users"], found["changed"], found["others"]) == (10, 7, 3)
    assert (
        'max_items: 7 of 10 users would get another value; rule 1 ("staff"): 3 of 3; the value '
        "itself: 7 of 10, not counting anonymous users\n"
    ) in err
    found, err = dry_run("update", "max_items", "--rules", "[]")
    assert (found["changed"], found["others"]) == (3, 0)
    found, err = dry_run("update", "max_items", "--description", "Items of a page")
    assert found is None
    assert "users" not in err


def test_dry_run_says_why_users_are_not_counted() -> None:
    KeyValueStore.objects.update(rules=[{"value": None}])
    found, err = dry_run("set", "max_items", "11")
    assert found is None
    assert "impact unknown: the users cannot be counted: the rules of value" in err


def test_change_of_the_value_itself_says_how_many_users_keep_another_one() -> None:
    ran = flags("value", "set", "max_items", "11")
    assert "max_items: 3 of 10 users keep another value\n" in ran.err
    ran = flags("value", "set", "max_items", "12", "--everyone")
    assert "keep another value" not in ran.err


def test_impact_shows_no_secret() -> None:
    rules = [{**RULES[0], "value": "s3cret"}]
    KeyValueStore.objects.update(value="hidden", rules=rules, secret=True)
    text = json.dumps([*map(str, flags("impact", "max_items", "--rules", "[]"))])
    text += str(dry_run("update", "max_items", "--rules", "[]")[0])
    text += typed("flags impact max_items --value 1")
    assert "s3cret" not in text
    assert "hidden" not in text
