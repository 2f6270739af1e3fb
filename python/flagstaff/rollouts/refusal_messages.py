"""Why a plan, its steps or its guards are refused, and why a plan cannot run, as messages."""

from __future__ import annotations

from flagstaff._words.text import Text, marked

# The state of a plan.

_STATES = {
    "pending": marked("pending"),
    "running": marked("running"),
    "holding": marked("holding"),
    "paused": marked("paused"),
    "done": marked("done"),
    "rolled_back": marked("rolled back"),
}


def state_text(state: str) -> str:
    """Returns the name of a state. SQL may have written an unknown one."""
    return Text(_STATES[state]) if state in _STATES else state


#: By the action that the state of a plan does not allow.

# Why a plan cannot run.


# What a plan has stored.


# Steps.


# Guards.
