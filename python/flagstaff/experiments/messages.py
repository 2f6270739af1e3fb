"""The messages of experiments: events, refused changes, and why a report cannot be made."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from flagstaff._words.text import Text

# Parts that have commas, so these are separated by semicolons.

# Events.


# The settings of an experiment.


# Refused because of the state.


# Refused because of what was given.


# Why a metric has no figures, or a report cannot be made.


def joined(parts: Iterable[str]) -> str:
    """Returns the parts, at least one, separated by semicolons."""
    return reduce(lambda left, right: Text("{left}; {right}", left=left, right=right), parts)
