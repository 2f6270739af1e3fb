"""Computes an earlier state from the present one. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Generic, TypeVar

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class State(Generic[RowT]):
    """The row of a flag or a value at one point of its history, and its allowed users."""

    #: None if there was no row.
    row: RowT | None
    users: frozenset[Hashable] = frozenset()


@dataclass(frozen=True)
class RowDelta(Generic[RowT]):
    """A row was inserted, updated or deleted. Going back needs only what was there before."""

    before: RowT | None


@dataclass(frozen=True)
class AllowedUsersDelta:
    """Users were removed from the allowed users, and others were added."""

    removed: frozenset[Hashable]
    added: frozenset[Hashable]


def state_before(
    present: State[RowT], newest_first: Iterable[RowDelta[RowT] | AllowedUsersDelta]
) -> State[RowT]:
    """Returns the state before the oldest of these deltas, which lead up to `present`."""
    return reduce(_step_back, newest_first, present)


def _step_back(state: State[RowT], delta: RowDelta[RowT] | AllowedUsersDelta) -> State[RowT]:
    if isinstance(delta, RowDelta):
        return State(delta.before, state.users)
    return State(state.row, (state.users - delta.added) | delta.removed)
