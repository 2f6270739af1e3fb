"""The present and what was changed since → what was before. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

__all__ = ["AllowDelta", "RowDelta", "State", "state_before"]


@dataclass(frozen=True)
class State:
    """A flag or a value at one moment. What a row is, the fold need not know."""

    #: None where there was none.
    row: Any
    users: frozenset[Hashable] = frozenset()


@dataclass(frozen=True)
class RowDelta:
    """A row became another, added, or removed. Only what was before it counts."""

    before: Any


@dataclass(frozen=True)
class AllowDelta:
    """Users removed from an allow-list, and others added."""

    removed: frozenset[Hashable]
    added: frozenset[Hashable]


def state_before(present: State, newest_first: Iterable[RowDelta | AllowDelta]) -> State:
    """What was before the oldest of these changes."""
    return reduce(_step_back, newest_first, present)


def _step_back(state: State, delta: RowDelta | AllowDelta) -> State:
    if isinstance(delta, RowDelta):
        return State(delta.before, state.users)
    return State(state.row, (state.users - delta.added) | delta.removed)
