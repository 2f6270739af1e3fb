"""The state of a flag: enabled, rollout and allowed users in one word."""

from __future__ import annotations

from enum import Enum

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._tables.bucket_units import USER, VISITOR, short_unit
from flagstaff._words.local_formats import local_number

_ALL_USERS = 100


class ReleaseState(Enum):
    """The users who have a flag. The value is the one of the filter `flags list --state`."""

    OFF = "off"
    ROLLOUT = "rollout"
    ALL = "all"
    ALLOWED_USERS = "allowed-users"
    #: Enabled, at 0 %, without allowed users.
    NO_USERS = "no-users"


def state_of(*, enabled: bool, rollout_percent: int, allowed: int) -> ReleaseState:
    """Returns the state of a flag. `allowed` is the number of its allowed users."""
    if not enabled:
        return ReleaseState.OFF
    if rollout_percent >= _ALL_USERS:
        return ReleaseState.ALL
    if rollout_percent > 0:
        return ReleaseState.ROLLOUT
    return ReleaseState.ALLOWED_USERS if allowed else ReleaseState.NO_USERS


def _share(percent: int, unit: str) -> str:
    """Returns a translated percentage of what another unit than the user counts, for a label."""
    text = _("%(percent)s %% of visitors") if unit == VISITOR else _("%(percent)s %% by %(unit)s")
    return text % {"percent": percent, "unit": short_unit(unit)}


def _share_in_sentence(percent: int, unit: str) -> str:
    """Returns the same for a sentence, in which more words follow."""
    if unit == VISITOR:
        return _share(percent, unit)
    return _("%(percent)s %% (by %(unit)s)") % {"percent": percent, "unit": short_unit(unit)}


def state_label(
    state: ReleaseState, rollout_percent: int, *, by_rules: bool = False, unit: str = USER
) -> str:
    """Returns the translated label of a state. `by_rules`: the flag has rules."""
    if by_rules and state is not ReleaseState.OFF:
        return _("by rules")
    if state is ReleaseState.ROLLOUT and unit != USER:
        return _share(rollout_percent, unit)
    if state is ReleaseState.ROLLOUT:
        return _("rollout %(percent)s %%") % {"percent": rollout_percent}
    return {
        ReleaseState.OFF: pgettext("state of a flag", "off"),
        ReleaseState.ALL: _("on for all"),
        ReleaseState.ALLOWED_USERS: _("allowed users only"),
        ReleaseState.NO_USERS: _("on for no users"),
    }[state]


def state_summary(
    state: ReleaseState,
    rollout_percent: int,
    allowed: int,
    *,
    by_rules: bool = False,
    unit: str = USER,
) -> str:
    """Returns the translated sentence that says which users have a flag.

    `by_rules`: the flag has rules. `unit` is its bucketing unit.
    """
    texts = {"percent": rollout_percent, "count": local_number(allowed)}
    if unit != USER and (
        state is ReleaseState.ROLLOUT or (by_rules and state is not ReleaseState.OFF)
    ):
        texts["share"] = _share_in_sentence(rollout_percent, unit)
        return _by_unit(allowed, by_rules=by_rules) % texts
    if by_rules and state is not ReleaseState.OFF:
        return _by_rules(allowed) % texts
    if state is ReleaseState.ROLLOUT and allowed:
        text = ngettext(
            "On for %(percent)s %% of all users and %(count)s allowed user.",
            "On for %(percent)s %% of all users and %(count)s allowed users.",
            allowed,
        )
        return text % texts
    return {
        ReleaseState.OFF: _("Off for all users."),
        ReleaseState.ALL: _("On for all users."),
        ReleaseState.ROLLOUT: _("On for %(percent)s %% of all users."),
        ReleaseState.ALLOWED_USERS: ngettext(
            "On for %(count)s allowed user only.", "On for %(count)s allowed users only.", allowed
        ),
        ReleaseState.NO_USERS: _(
            "On for no users: the rollout is 0 %% and there are no allowed users."
        ),
    }[state] % texts


def _by_rules(allowed: int) -> str:
    if not allowed:
        return _("The rules decide first. On for %(percent)s %% of all other users.")
    return ngettext(
        "On for %(count)s allowed user. For all others, the rules decide first. On for "
        "%(percent)s %% of the users that no rule matches.",
        "On for %(count)s allowed users. For all others, the rules decide first. On for "
        "%(percent)s %% of the users that no rule matches.",
        allowed,
    )


def _by_unit(allowed: int, *, by_rules: bool) -> str:
    if by_rules and allowed:
        return ngettext(
            "On for %(count)s allowed user. For all others, the rules decide first. If no rule "
            "matches, on for %(share)s.",
            "On for %(count)s allowed users. For all others, the rules decide first. If no rule "
            "matches, on for %(share)s.",
            allowed,
        )
    if by_rules:
        return _("The rules decide first. If no rule matches, on for %(share)s.")
    if allowed:
        return ngettext(
            "On for %(share)s and %(count)s allowed user.",
            "On for %(share)s and %(count)s allowed users.",
            allowed,
        )
    return _("On for %(share)s.")
