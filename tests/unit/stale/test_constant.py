"""Since when a flag has given every user the same result."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from flagstaff.stale.constant import (
    AllowedUsersChange,
    Configuration,
    Constant,
    RowChange,
    constant_result,
    constant_since,
)

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


def period(
    now: Configuration, changes: list[Change], *, users: int = 0, bound: int | None = None
) -> Constant | None:
    unchanged_since = None if bound is None else ago(bound)
    return constant_since(now, users, changes, unchanged_since=unchanged_since)


def exact(result: bool, days: int) -> Constant:
    return Constant(result, ago(days), is_exact=True)


def test_period_begins_with_the_change_that_made_the_result_constant() -> None:
    assert period(FULL, [row(41, HALF, FULL), created(90, HALF)]) == exact(True, 41)
    assert period(FULL, [row(2, OFF, FULL), created(90, OFF)]) == exact(True, 2)
    zero_then_off = [row(3, ZERO, OFF), row(40, HALF, ZERO), created(90, HALF)]
    assert period(OFF, [*zero_then_off]) == exact(False, 40)


def test_flag_that_never_changed_is_constant_since_its_creation() -> None:
    assert period(OFF, [created(60, OFF)], bound=99) == exact(False, 60)


def test_incomplete_history_bounds_the_period() -> None:
    pruned = [row(10, FULL, FULL), row(35, Configuration(True, 100, []), FULL)]
    unknown_columns = [row(20, None, FULL), created(60, HALF)]
    assert period(FULL, [*pruned]) == Constant(True, ago(35), is_exact=False)
    assert period(FULL, [*unknown_columns]) == Constant(True, ago(20), is_exact=False)
    assert period(FULL, [], bound=50) == Constant(True, ago(50), is_exact=False)


def test_period_without_a_bound_or_with_a_missing_change_is_unknown() -> None:
    assert period(FULL, []) is None
    assert period(FULL, [created(60, HALF)]) is None


def test_removal_of_the_last_allowed_user_begins_the_period() -> None:
    removal = AllowedUsersChange(ago(31), added=0, removed=2)
    addition = AllowedUsersChange(ago(40), added=2, removed=0)
    assert period(ZERO, [removal, addition, created(90, ZERO)]) == exact(False, 31)


def test_allowed_users_of_a_flag_at_100_percent_do_not_matter() -> None:
    addition = AllowedUsersChange(ago(5), added=1, removed=0)
    assert period(FULL, [addition, created(90, FULL)], users=1) == exact(True, 90)


def test_flag_that_differs_between_users_has_no_period() -> None:
    assert period(HALF, [created(90, HALF)], bound=90) is None
