"""The present, and what was changed since, give what was before."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flagstaff.history.folding import AllowDelta, RowDelta, State, state_before

Delta = RowDelta | AllowDelta

ABSENT = State(None)
PEOPLE = st.frozensets(st.integers(1, 6), max_size=4)
ROWS = st.one_of(st.none(), st.integers(0, 100))


def apply(state: State, change: Any) -> tuple[State, list[Delta]]:
    """A change as a database makes it, and the deltas that its triggers write, oldest first."""
    kind, content = change
    if kind == "row":
        gone = [AllowDelta(state.users, frozenset())] if content is None and state.users else []
        users = frozenset() if content is None else state.users
        return State(content, users), [*gone, RowDelta(state.row)]
    if kind == "allow":
        added = content - state.users
        return State(state.row, state.users | content), [AllowDelta(frozenset(), added)]
    if kind == "deny":
        removed = content & state.users
        return State(state.row, state.users - content), [AllowDelta(removed, frozenset())]
    removed, added = state.users - content, content - state.users
    return State(state.row, content), [AllowDelta(removed, added)]


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("row"), ROWS),
        st.tuples(st.sampled_from(["allow", "deny", "set"]), PEOPLE),
    ),
    max_size=12,
)


@given(CHANGES)
def test_every_state_of_a_history_is_found_again(changes: list[Any]) -> None:
    states: list[State] = [ABSENT]
    deltas: list[list[Delta]] = []
    for change in changes:
        state, told = apply(states[-1], change)
        states.append(state)
        deltas.append(told)
    for place, state in enumerate(states):
        since = [delta for told in deltas[place:] for delta in told]
        assert state_before(states[-1], reversed(since)) == state


def test_nothing_since_is_the_present() -> None:
    assert state_before(State("row", frozenset({1})), []) == State("row", frozenset({1}))


def test_one_who_was_swapped_for_another_is_back() -> None:
    swapped = AllowDelta(removed=frozenset({1}), added=frozenset({2}))
    assert state_before(State("row", frozenset({2, 3})), [swapped]).users == {1, 3}
