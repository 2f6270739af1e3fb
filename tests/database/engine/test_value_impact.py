"""`value_impact`: how many users get which value, and how many another one by a change."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import override_settings

from flagstaff import snapshot, value_impact
from flagstaff._tables.value_states import ValueState
from flagstaff.exceptions import FlagstaffError, UnknownValueError
from flagstaff.models import KeyValueStore, Segment
from tests.support.conditions import condition

pytestmark = pytest.mark.django_db

KEY = "max_items"
STAFF = [condition("is_staff", "in", True)]
USERS = 200


def rule(conditions: object, value: object, percent: int = 100) -> dict[str, Any]:
    return {"conditions": conditions, "rollout_percent": percent, "value": value}


def store(*rules: object, value: object = 10, **fields: Any) -> ValueState:
    row = KeyValueStore.objects.create(key=KEY, value=value, rules=list(rules), **fields)
    return ValueState.of(row)


@pytest.fixture(autouse=True)
def users() -> list[User]:
    """Each tenth is on the staff."""
    users = [User(username=f"u{number}", is_staff=number % 10 == 0) for number in range(USERS)]
    return User.objects.bulk_create(users)


def values_now() -> list[object]:
    """The value of each user, as an evaluation returns it."""
    # One snapshot: in direct mode, each evaluation of its own would query.
    held = snapshot()
    return [held.get_value(KEY, user=user) for user in User.objects.order_by("pk")]


def test_users_of_each_result_are_those_who_get_it() -> None:
    store(rule(STAFF, 50), rule([], 20, 25))
    found = value_impact(KEY)
    values = values_now()
    assert [one.users for one in found.by_result] == [values.count(value) for value in (10, 50, 20)]
    assert (found.users, found.changed, found.unsure) == (USERS, 0, 0)
    assert found.others == USERS - values.count(10)
    assert [one.unsure for one in found.by_result] == [0, 0, 0]


def test_numbers_in_words_name_rules_and_the_value_itself() -> None:
    store({"name": "staff", **rule(STAFF, 50)})
    assert value_impact(KEY).after.texts == [
        'rule 1 ("staff"): 20 of 20',
        "the value itself: 180 of 200",
    ]


STATES = [
    {"rules": []},
    {"rules": [rule(STAFF, 50)]},
    {"rules": [rule(STAFF, 10)]},
    {"rules": [rule(STAFF, 50, 50), rule([], 20, 25)]},
    {"rules": [rule([], {"a": 1, "b": 2}, 40)], "value": {"b": 2, "a": 1}},
    {"rules": [rule([], 50, 40)], "bucket_by": "username"},
]


@pytest.mark.parametrize(("before", "after"), [*itertools.permutations(STATES, 2)])
def test_changed_users_are_those_whose_value_differs(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    with override_settings(FLAGSTAFF={"ATTRIBUTES": ["username"]}):
        row = KeyValueStore.objects.create(key=KEY, **{"value": 10, **before})
        old = values_now()
        found = value_impact(KEY, {"value": 10, "rules": [], "bucket_by": "user", **after})
        assert values_now() == old
        vars(row).update({"value": 10, "bucket_by": "user", **after})
        row.save()
        new = values_now()
    assert found.changed == sum(one != other for one, other in zip(old, new, strict=True))
    assert found.others == sum(value != row.value for value in new)


def test_sample_has_users_whose_value_changes() -> None:
    store(rule(STAFF, 50))
    found = value_impact(KEY, {"rules": []}, sample=3)
    staff = {str(pk) for pk in User.objects.filter(is_staff=True).values_list("pk", flat=True)}
    assert len(found.sample) == 3
    assert staff.issuperset(found.sample)


def test_new_value_itself_does_not_change_the_value_of_a_rule() -> None:
    store(rule(STAFF, 50))
    found = value_impact(KEY, {"value": 30})
    assert (found.changed, found.others) == (USERS - 20, 20)


def test_users_whose_value_depends_on_the_context_are_unsure() -> None:
    store(rule(STAFF, 50), rule([condition("country", "in", "DE")], 20))
    found = value_impact(KEY, {"value": 11})
    assert (found.others, found.unsure, found.changed, found.is_exact) == (20, 180, 0, False)
    own, staff, country = found.by_result
    assert (own.users, own.unsure) == (0, 180)
    assert (staff.users, staff.unsure) == (20, 0)
    assert (country.users, country.unsure) == (0, 180)
    assert country.text == "rule 2: not counted: the call passes “country”"
    assert own.text == "the value itself: not counted"


def test_unknown_rule_that_gives_the_value_itself_leaves_no_user_unsure() -> None:
    store(rule([condition("country", "in", "DE")], 10))
    assert value_impact(KEY).unsure == 0


def test_percentage_of_an_unknown_unit_is_unsure() -> None:
    store(rule(STAFF, 50, 50), bucket_by="visitor")
    found = value_impact(KEY)
    own, staff = found.by_result
    assert (own.users, own.unsure, staff.users, staff.unsure) == (180, 20, 0, 20)
    assert staff.text == "rule 1: not counted: 50 % by visitor"


def test_empty_unit_of_sql_is_one_that_no_user_has() -> None:
    store(rule([], 20, 25))
    KeyValueStore.objects.update(bucket_by="")
    assert values_now() == [10] * USERS
    assert [one.users for one in value_impact(KEY).by_result] == [USERS, 0]


def test_groups_and_segments_are_read() -> None:
    Segment.objects.create(key="testers", conditions=[condition("groups", "in", "beta")])
    beta = Group.objects.create(name="beta")
    beta.user_set.set(User.objects.order_by("pk")[:7])
    store(rule([{"segment": "testers"}], 50))
    assert value_impact(KEY).others == 7


def test_unreadable_rules_cannot_be_counted() -> None:
    store({"value": None})
    with pytest.raises(FlagstaffError, match='the rules of value "max_items" cannot be read: '):
        value_impact(KEY)


def test_unknown_value_raises() -> None:
    with pytest.raises(UnknownValueError):
        value_impact("nothing")


def test_secret_value_is_in_no_number_or_text() -> None:
    store({"name": "staff", **rule(STAFF, "s3cret")}, value="hidden", secret=True)
    found = value_impact(KEY, {"value": "other s3cret"})
    shown = json.dumps(found.as_dict()) + repr(found) + "".join(found.after.texts)
    assert "s3cret" not in shown
    assert "hidden" not in shown
