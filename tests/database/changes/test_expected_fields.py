"""A change with `expect` is written only if these fields still have the expected values."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from django.contrib.auth.models import User

from flagstaff.changes import create, create_value, update, update_value
from flagstaff.exceptions import ConflictError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.flag_fixtures import flag, gateway

__all__ = ["flag", "gateway"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


def make_users(count: int) -> list[int]:
    return [User.objects.create(username=f"user{number}").pk for number in range(count)]


def allowed(flag: FeatureFlag) -> set[int]:
    return set(flag.allowed_users.values_list("pk", flat=True))


def flag_with(users: Iterable[int]) -> FeatureFlag:
    create("banner", allowed_users=list(users))
    return FeatureFlag.objects.get(key="banner")


def test_change_with_expected_value_is_written(flag: FeatureFlag) -> None:
    old = flag.rollout_percent
    assert update(flag.key, {"rollout_percent": 50}, expect={"rollout_percent": old}).written
    flag.refresh_from_db()
    assert flag.rollout_percent == 50


def test_change_over_newer_value_is_rejected(flag: FeatureFlag) -> None:
    old = flag.rollout_percent
    update(flag.key, {"rollout_percent": 80})
    message = f"{flag.key} has changed since you read it: rollout_percent; read it again"
    with pytest.raises(ConflictError, match=message):
        update(flag.key, {"rollout_percent": 50}, expect={"rollout_percent": old})
    flag.refresh_from_db()
    assert flag.rollout_percent == 80


def test_change_keeps_newer_value_of_another_field(flag: FeatureFlag) -> None:
    update(flag.key, {"enabled": False})
    update(flag.key, {"description": "One page"}, expect={"description": flag.description})
    flag.refresh_from_db()
    assert (flag.enabled, flag.description) == (False, "One page")


def test_expected_value_of_another_field_is_a_condition(flag: FeatureFlag) -> None:
    with pytest.raises(ConflictError, match="enabled"):
        update(flag.key, {"rollout_percent": 50}, expect={"enabled": not flag.enabled})


def test_same_change_made_meanwhile_is_no_conflict(flag: FeatureFlag) -> None:
    old = flag.rollout_percent
    update(flag.key, {"rollout_percent": 50})
    version = flag_version(flag.key)
    expect = {"rollout_percent": old, "description": flag.description}
    fields = {"rollout_percent": 50, "description": "One page"}
    assert update(flag.key, fields, expect=expect).new == {"description": "One page"}
    assert not update(flag.key, fields, expect=expect).written
    assert flag_version(flag.key) != version


def test_expected_allowed_users_add_and_remove_only_what_differs() -> None:
    stays, removed, added, by_others = make_users(4)
    flag = flag_with([stays, removed])
    update(flag.key, {"allowed_users": [stays, removed, by_others]})
    expect = {"allowed_users": [stays, removed]}
    changed = update(flag.key, {"allowed_users": [stays, added]}, expect=expect)
    assert allowed(flag) == {stays, added, by_others}
    assert (changed.old, changed.new) == ({"allowed_users": [removed]}, {"allowed_users": [added]})


def test_allowed_user_removed_meanwhile_is_not_added_again() -> None:
    stays, removed, added = make_users(3)
    flag = flag_with([stays])
    expect = {"allowed_users": [stays, removed]}
    update(flag.key, {"allowed_users": [stays, removed, added]}, expect=expect)
    assert allowed(flag) == {stays, added}


def test_expected_values_compare_as_json(gateway: KeyValueStore) -> None:
    create_value("limits", {"a": 1, "b": True})
    update_value("limits", {"value": 2}, expect={"value": {"b": True, "a": 1}})
    with pytest.raises(ConflictError):
        update_value("limits", {"value": 3}, expect={"value": True})


def test_conflict_does_not_show_values(gateway: KeyValueStore) -> None:
    create_value("token", "hunter2", secret=True)
    with pytest.raises(ConflictError) as raised:
        update_value("token", {"value": "hunter3"}, expect={"value": "hunter1"})
    assert "hunter" not in str(raised.value)
