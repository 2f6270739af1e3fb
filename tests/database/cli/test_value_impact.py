"""What a dry run and a change of a value say about the users."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.conditions import condition
from tests.support.terminals import document, flags, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]

RULES = [{"name": "staff", "conditions": [condition("is_staff", "in", True)], "value": 50}]


@pytest.fixture(autouse=True)
def value() -> None:
    """A value that 3 of 10 users get by a rule."""
    User.objects.all().delete()
    User.objects.bulk_create(User(username=f"u{one}", is_staff=one < 3) for one in range(10))
    changes.create_value("max_items", 10, rules=RULES)


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


def test_dry_run_shows_no_secret() -> None:
    rules = [{**RULES[0], "value": "s3cret"}]
    KeyValueStore.objects.update(value="hidden", rules=rules, secret=True)
    text = str(dry_run("update", "max_items", "--rules", "[]"))
    text += str(dry_run("set", "max_items", "1"))
    text += typed("flags value set max_items 1 --dry-run")
    assert "s3cret" not in text
    assert "hidden" not in text
