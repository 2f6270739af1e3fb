"""Whether a flag gives every user the same result."""

from __future__ import annotations

import pytest

from flagstaff.stale.signals import Configuration, constant_result


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
