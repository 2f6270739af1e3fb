"""One word for switch, rollout and allow-list together."""

from __future__ import annotations

from enum import Enum

from django.utils.translation import gettext as _

__all__ = ["State", "in_words", "state_of"]

_EVERYONE = 100


class State(Enum):
    """Who has a flag. The value is what a filter calls it."""

    OFF = "off"
    ROLLOUT = "rollout"
    ALL = "all"
    ALLOWED_USERS = "allowed-users"
    #: The switch is on, and nobody has the flag all the same.
    NO_USERS = "no-users"


def state_of(*, enabled: bool, rollout_percent: int, allowed: int) -> State:
    """The state of a flag whose allow-list has so many users."""
    if not enabled:
        return State.OFF
    if rollout_percent >= _EVERYONE:
        return State.ALL
    if rollout_percent > 0:
        return State.ROLLOUT
    return State.ALLOWED_USERS if allowed else State.NO_USERS


def in_words(state: State, rollout_percent: int) -> str:
    """The state as a list of flags shows it."""
    if state is State.ROLLOUT:
        return _("rollout %(percent)s %%") % {"percent": rollout_percent}
    return {
        State.OFF: _("off"),
        State.ALL: _("on for all"),
        State.ALLOWED_USERS: _("allowed users only"),
        State.NO_USERS: _("on for no users"),
    }[state]
