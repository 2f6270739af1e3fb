"""The state of a flag: enabled, rollout and allowed users in one word."""

from __future__ import annotations

from enum import Enum

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._text.local_formats import local_number

__all__ = ["State", "state_label", "state_of", "state_summary"]

_ALL_USERS = 100


class State(Enum):
    """The users who have a flag. The value is the one of the filter `flags list --state`."""

    OFF = "off"
    ROLLOUT = "rollout"
    ALL = "all"
    ALLOWED_USERS = "allowed-users"
    #: Enabled, at 0 %, without allowed users.
    NO_USERS = "no-users"


def state_of(*, enabled: bool, rollout_percent: int, allowed: int) -> State:
    """Returns the state of a flag. `allowed` is the number of its allowed users."""
    if not enabled:
        return State.OFF
    if rollout_percent >= _ALL_USERS:
        return State.ALL
    if rollout_percent > 0:
        return State.ROLLOUT
    return State.ALLOWED_USERS if allowed else State.NO_USERS


def state_label(state: State, rollout_percent: int, *, by_rules: bool = False) -> str:
    """Returns the translated label of a state. `by_rules`: the flag has rules."""
    if by_rules and state is not State.OFF:
        return _("by rules")
    if state is State.ROLLOUT:
        return _("rollout %(percent)s %%") % {"percent": rollout_percent}
    return {
        State.OFF: pgettext("state of a flag", "off"),
        State.ALL: _("on for all"),
        State.ALLOWED_USERS: _("allowed users only"),
        State.NO_USERS: _("on for no users"),
    }[state]


def state_summary(
    state: State, rollout_percent: int, allowed: int, *, by_rules: bool = False
) -> str:
    """Returns the translated sentence that says which users have a flag.

    `by_rules`: the flag has rules.
    """
    texts = {"percent": rollout_percent, "count": local_number(allowed)}
    if by_rules and state is not State.OFF:
        return _by_rules(allowed) % texts
    if state is State.ROLLOUT and allowed:
        text = ngettext(
            "On for %(percent)s %% of all users and %(count)s allowed user.",
            "On for %(percent)s %% of all users and %(count)s allowed users.",
            allowed,
        )
        return text % texts
    return {
        State.OFF: _("Off for all users."),
        State.ALL: _("On for all users."),
        State.ROLLOUT: _("On for %(percent)s %% of all users."),
        State.ALLOWED_USERS: ngettext(
            "On for %(count)s allowed user only.", "On for %(count)s allowed users only.", allowed
        ),
        State.NO_USERS: _("On for no users: the rollout is 0 %% and there are no allowed users."),
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
