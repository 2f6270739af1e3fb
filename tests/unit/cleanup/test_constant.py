"""Since when a flag has given every user the same result."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from flagstaff.cleanup.constant import AllowedUsersChange, Constant, RowChange, constant_since
from flagstaff.cleanup.results import Configuration, constant_result

Change = RowChange | AllowedUsersChange

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
OFF = Configuration(enabled=False, rollout_percent=50)
HALF = Configuration(enabled=True, rollout_percent=50)
FULL = Configuration(enabled=True, rollout_percent=100)
ZERO = Configuration(enabled=True, rollout_percent=0)


def ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


def row(days: int, before: Configuration | None, after: Configuration) -> RowChange:
    return RowChange(ago(days), before, after)


def created(days: int, after: Configuration) -> RowChange:
    return RowChange(ago(days), None, after, is_creation=True)


def rules(*percents: int) -> list[object]:
    return [{"conditions": [], "rollout_percent": percent} for percent in percents]


@pytest.mark.parametrize(
    ("enabled", "percent", "found", "has_users", "expected"),
    [
        (False, 100, None, True, False),
        (False, 100, "unreadable", True, False),
        (True, 100, None, False, True),
        (True, 100, [], True, True),
        (True, 0, None, False, False),
        (True, 0, None, True, None),
        (True, 99, [], False, None),
        (True, 100, rules(100), False, True),
        (True, 100, [{"conditions": []}], False, True),
        (True, 100, rules(100, 99), False, None),
        (True, 0, rules(0), False, False),
        (True, 0, rules(1), False, None),
        (True, 0, [{"conditions": []}], False, None),
        (True, 100, {}, False, None),
        (True, 100, ["x"], False, None),
        (True, 100, [{"rollout_percent": "100"}], False, None),
        (True, 150, None, False, True),
    ],
)
def test_result_is_constant_unless_users_can_differ(
    enabled: bool, percent: int, found: object, has_users: bool, expected: bool | None
) -> None:
    configuration = Configuration(enabled, percent, found)
    assert constant_result(configuration, has_allowed_users=has_users) is expected


def test_period_begins_with_the_change_that_made_the_result_constant() -> None:
    changes = [row(41, HALF, FULL), created(90, HALF)]
    found = constant_since(FULL, 0, changes, unchanged_since=None)
    assert found == Constant(True, ago(41), is_exact=True)


def test_changes_that_keep_the_result_do_not_begin_a_period() -> None:
    zero_then_off = [row(3, ZERO, OFF), row(40, HALF, ZERO), created(90, HALF)]
    found = constant_since(OFF, 0, zero_then_off, unchanged_since=None)
    assert found == Constant(False, ago(40), is_exact=True)


def test_flag_that_never_changed_is_constant_since_its_creation() -> None:
    found = constant_since(OFF, 0, [created(60, OFF)], unchanged_since=ago(99))
    assert found == Constant(False, ago(60), is_exact=True)


def test_pruned_history_bounds_the_period() -> None:
    changes = [row(10, FULL, FULL), row(35, Configuration(True, 100, []), FULL)]
    found = constant_since(FULL, 0, changes, unchanged_since=None)
    assert found == Constant(True, ago(35), is_exact=False)


def test_flag_without_entries_is_bound_by_the_begin_of_the_history() -> None:
    found = constant_since(FULL, 0, [], unchanged_since=ago(50))
    assert found == Constant(True, ago(50), is_exact=False)


def test_flag_without_entries_and_without_a_bound_is_unknown() -> None:
    assert constant_since(FULL, 0, [], unchanged_since=None) is None


def test_change_that_the_history_lacks_makes_the_period_unknown() -> None:
    assert constant_since(FULL, 0, [created(60, HALF)], unchanged_since=None) is None


def test_entry_with_unknown_columns_bounds_the_period() -> None:
    changes = [row(20, None, FULL), created(60, HALF)]
    found = constant_since(FULL, 0, changes, unchanged_since=None)
    assert found == Constant(True, ago(20), is_exact=False)


def test_removal_of_the_last_allowed_user_begins_the_period() -> None:
    changes: list[Change] = [
        AllowedUsersChange(ago(31), added=0, removed=2),
        AllowedUsersChange(ago(40), added=2, removed=0),
        created(90, ZERO),
    ]
    found = constant_since(ZERO, 0, changes, unchanged_since=None)
    assert found == Constant(False, ago(31), is_exact=True)


def test_allowed_users_of_a_flag_at_100_percent_do_not_matter() -> None:
    changes: list[Change] = [AllowedUsersChange(ago(5), added=1, removed=0), created(90, FULL)]
    found = constant_since(FULL, 1, changes, unchanged_since=None)
    assert found == Constant(True, ago(90), is_exact=True)


def test_flag_that_was_off_and_is_on_for_all_is_constant_since_then() -> None:
    changes = [row(2, OFF, FULL), created(90, OFF)]
    found = constant_since(FULL, 0, changes, unchanged_since=None)
    assert found == Constant(True, ago(2), is_exact=True)


def test_flag_that_differs_between_users_has_no_period() -> None:
    assert constant_since(HALF, 0, [created(90, HALF)], unchanged_since=ago(90)) is None
