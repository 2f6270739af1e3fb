"""The state of a flag: enabled, rollout and allowed users in one word."""

from __future__ import annotations

from enum import Enum

from django.utils.translation import gettext as _

__all__ = ["State", "state_label", "state_of"]

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


def state_label(state: State, rollout_percent: int) -> str:
    """Returns the translated label of a state."""
    if state is State.ROLLOUT:
        return _("rollout %(percent)s %%") % {"percent": rollout_percent}
    return {
        State.OFF: _("off"),
        State.ALL: _("on for all"),
        State.ALLOWED_USERS: _("allowed users only"),
        State.NO_USERS: _("on for no users"),
    }[state]
