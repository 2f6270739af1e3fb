"""The consequence of a change of a flag for the users: it decides how the change is confirmed."""

from __future__ import annotations

from enum import IntEnum

from flagstaff._engine.impact import ChangeImpact
from flagstaff._engine.value_impact import ValueImpact
from flagstaff._tables.flag_states import ALL_USERS, FlagState

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


def consequence(before: FlagState, after: FlagState, impact: ChangeImpact | None) -> Consequence:
    """Returns the consequence of a change. `impact` is None if the users cannot be counted.

    Anonymous users are not counted, so the fields decide for 100 % and for other units. They also
    decide if the results of some users are unknown.
    """
    if before == after or not (before.enabled or after.enabled):
        return Consequence.NONE
    if not after.enabled:
        return Consequence.NARROWS
    if before.enabled and before.bucket_by != after.bucket_by:
        return Consequence.WIDENS_TO_MOST
    is_raised = after.rollout_percent > (before.rollout_percent if before.enabled else 0)
    is_whole = is_raised and after.rollout_percent >= ALL_USERS
    if impact is None or is_whole or not (impact.users and impact.is_exact):
        return _by_fields(before, after, is_raised=is_raised)
    return by_users(impact, is_raised=is_raised)


def by_users(impact: ChangeImpact, *, is_raised: bool = False) -> Consequence:
    """Returns the consequence of a change of results, by the counts alone.

    With `is_raised`, users who are not counted may gain the flag.
    """
    if impact.gain:
        is_most = impact.after.on * 2 > impact.users
        return Consequence.WIDENS_TO_MOST if is_most else Consequence.WIDENS
    return Consequence.WIDENS if is_raised else Consequence.NARROWS


def value_consequence(impact: ValueImpact) -> Consequence:
    """Returns the consequence of a change of a value, by the counts alone."""
    if not impact.changed:
        return Consequence.NONE
    is_most = impact.changed * 2 > impact.users
    return Consequence.WIDENS_TO_MOST if is_most else Consequence.WIDENS


def _by_fields(before: FlagState, after: FlagState, *, is_raised: bool) -> Consequence:
    # Rules whose users are unknown may give the flag to all.
    has_other_rules = before.rules != after.rules or (after.rules and not before.enabled)
    if has_other_rules or (is_raised and after.rollout_percent > _HALF):
        return Consequence.WIDENS_TO_MOST
    return Consequence.WIDENS if is_raised else Consequence.NARROWS
