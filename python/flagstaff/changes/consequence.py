"""The consequence of a change of a flag for the users: it decides how the change is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from flagstaff._engine.impact import ChangeImpact
from flagstaff._tables.flag_model import flag_model, optional_fields
from flagstaff._tables.rows import Fields
from flagstaff._words.rule_parts import can_grant

#: The rollout of a flag for everyone, anonymous users included.
ALL_USERS = 100
_HALF = 50


class Consequence(IntEnum):
    """What a change means for the users, from the least to the most."""

    #: No result changes.
    NONE = 0
    #: Some users lose the flag, and none gains it.
    NARROWS = 1
    #: Some users gain the flag.
    WIDENS = 2
    #: Afterwards more than half of the users have the flag, or all have other results.
    WIDENS_TO_MOST = 3


class FlagState(NamedTuple):
    """The fields of a flag that decide about results, without the allowed users."""

    enabled: bool
    rollout_percent: int
    rules: Any
    unit: str

    @classmethod
    def of(cls, flag: Any) -> FlagState:
        """Returns the state of a flag. A model without rules or a unit has the defaults."""
        fields = optional_fields(flag)
        return cls(flag.enabled, flag.rollout_percent, fields.rules or [], fields.bucket_by)

    @classmethod
    def of_fields(cls, fields: Fields) -> FlagState:
        """Returns the state of a flag with these fields.

        A version from before a column was added lacks it, so the widest state is assumed.
        """
        optional = flag_model().read(fields)
        return cls(
            fields.get("enabled", True),
            fields.get("rollout_percent", ALL_USERS),
            optional.rules or [],
            optional.bucket_by,
        )

    def reaches_users(self, allowed: Callable[[], int]) -> bool:
        """Whether the flag is on for some users. Calls `allowed` if only allowed users may have it.

        It returns the number of allowed users.
        """
        return bool(self.enabled) and (
            self.rollout_percent > 0 or can_grant(self.rules) or allowed() > 0
        )


def consequence(before: FlagState, after: FlagState, impact: ChangeImpact | None) -> Consequence:
    """Returns the consequence of a change. `impact` is None if the users cannot be counted.

    Anonymous users are not counted, so the fields decide for 100 % and for other units.
    """
    if before == after or not (before.enabled or after.enabled):
        return Consequence.NONE
    if not after.enabled:
        return Consequence.NARROWS
    if before.enabled and before.unit != after.unit:
        return Consequence.WIDENS_TO_MOST
    is_raised = after.rollout_percent > (before.rollout_percent if before.enabled else 0)
    if impact is None or not impact.users or (is_raised and after.rollout_percent >= ALL_USERS):
        return _by_fields(before, after, is_raised=is_raised)
    return by_users(impact, is_raised=is_raised)


def by_users(impact: ChangeImpact, *, is_raised: bool = False) -> Consequence:
    """Returns the consequence of a change of results, by the counts alone.

    With `is_raised`, users who are not counted may gain the flag.
    """
    if impact.gain:
        is_most = impact.after * 2 > impact.users
        return Consequence.WIDENS_TO_MOST if is_most else Consequence.WIDENS
    return Consequence.WIDENS if is_raised else Consequence.NARROWS


def _by_fields(before: FlagState, after: FlagState, *, is_raised: bool) -> Consequence:
    # Rules whose users are unknown may give the flag to all.
    has_other_rules = before.rules != after.rules or (after.rules and not before.enabled)
    if has_other_rules or (is_raised and after.rollout_percent > _HALF):
        return Consequence.WIDENS_TO_MOST
    return Consequence.WIDENS if is_raised else Consequence.NARROWS
