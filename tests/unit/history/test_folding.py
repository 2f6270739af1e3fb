"""Earlier states are computed from the present one and the deltas since then."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from flagstaff.history.folding import AllowedUsersDelta, RowDelta, State, state_before

Delta: TypeAlias = RowDelta[int] | AllowedUsersDelta

ABSENT: State[int] = State(None)
USERS = st.frozensets(st.integers(1, 6), max_size=4)
ROWS = st.one_of(st.none(), st.integers(0, 100))


def apply(state: State[int], change: Any) -> tuple[State[int], list[Delta]]:
    """Returns the state after a change, and the deltas that triggers write of it, oldest first."""
    kind, content = change
    deltas: list[Delta]
    if kind == "row":
        deltas = [RowDelta(state.row)]
        if content is None and state.users:
            deltas.insert(0, AllowedUsersDelta(state.users, frozenset()))
        return State(content, frozenset() if content is None else state.users), deltas
    users = {"add": state.users | content, "remove": state.users - content, "set": content}[kind]
    deltas = [AllowedUsersDelta(removed=state.users - users, added=users - state.users)]
    return State(state.row, users), deltas


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("row"), ROWS), st.tuples(st.sampled_from(["add", "remove", "set"]), USERS)
    ),
    max_size=12,
)


@given(CHANGES)
def test_state_before_returns_every_earlier_state(changes: list[Any]) -> None:
    states = [ABSENT]
    deltas: list[list[Delta]] = []
    for change in changes:
        state, written = apply(states[-1], change)
        states.append(state)
        deltas.append(written)
    for place, state in enumerate(states):
        since = [delta for written in deltas[place:] for delta in written]
        assert state_before(states[-1], reversed(since)) == state


def test_state_before_a_replaced_user_has_the_old_user() -> None:
    assert state_before(present := State("row", frozenset({1})), []) == present
    replaced = AllowedUsersDelta(removed=frozenset({1}), added=frozenset({2}))
    assert state_before(State("row", frozenset({2, 3})), [replaced]).users == {1, 3}
