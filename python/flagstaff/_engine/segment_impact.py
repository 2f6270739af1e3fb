"""How many users get other results when segments change, or when several flags are enabled."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from flagstaff._core import impact_on, impact_on_value, monotonic
from flagstaff._engine.impact import (
    ALLOWED_USERS,
    COUNT_TIMEOUT,
    ChangeImpact,
    CoreState,
    Counts,
    Inputs,
    change_impact,
    core_state,
    groups_by_user,
    inputs_of,
    limited,
    read_users,
    require_all_rows,
    segment_texts,
    unit_problem,
)
from flagstaff._engine.raw_cursor import select
from flagstaff._engine.rule_columns import groups_of_rules
from flagstaff._engine.user_keys import key_to_text
from flagstaff._engine.value_impact import (
    ValueImpact,
    as_flag_states,
    core_value,
    value_impact_of,
)
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.value_states import ValueState
from flagstaff._words.rule_parts import named_segments, with_segment_names
from flagstaff.exceptions import FlagstaffError

# How many users are evaluated between two looks at the clock.
_CHUNK = 2000

#: The primary key, and the attributes that the rules read.
_UserRow: TypeAlias = tuple[Any, ...]
#: The conditions before and after, by the key of the segment. None is one that does not exist.
ChangedConditions: TypeAlias = Mapping[str, tuple[object, object]]


class UsingRules(NamedTuple):
    """The rules of an enabled flag that name a segment, or other rules, which grant by 100 %."""

    key: str
    state: FlagState
    #: The primary key of a flag, whose allowed users keep it; None for other rules.
    flag_pk: object = None
    #: The state of a value, whose rules are those of `state`; None for other rules.
    value: ValueState | None = None

    @classmethod
    def of_value(cls, key: str, value: ValueState) -> UsingRules:
        """Returns the rules of a value."""
        return cls(key, FlagState(enabled=True, rollout_percent=0, rules=value.rules), None, value)

    @classmethod
    def granting(cls, key: str, rules: object) -> UsingRules:
        """Returns rules that are not those of a flag."""
        return cls(key, FlagState(enabled=True, rollout_percent=0, rules=rules))


@dataclass
class SegmentImpact:
    """The effect of other conditions. Users who gain one flag may lose another one."""

    #: The number of all users; None if nothing was counted.
    users: int | None = None
    #: The effect on each flag, value or experiment, in the given order; None without a count.
    counts: list[ChangeImpact | ValueImpact | None] = field(default_factory=list)
    #: The different users who gain something, and those who lose something.
    gained: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    #: The different users who get another value.
    revalued: set[str] = field(default_factory=set)

    @property
    def changed(self) -> int:
        """How many different users gain or lose something, or get another value."""
        return len(self.gained | self.lost | self.revalued)


def impact_of_segments(
    changed: ChangedConditions, using: Sequence[UsingRules], *, timeout: float
) -> SegmentImpact:
    """Counts the users whose results differ when the conditions of these segments change together.

    Reads all users once, over Django's connection. What cannot be counted, or not in `timeout`
    seconds, has no count. Raises no FlagstaffError.
    """
    deadline, nothing = monotonic() + timeout, SegmentImpact(counts=[None] * len(using))
    if not using:
        return nothing
    try:
        with limited(deadline):
            require_all_rows("flag_table", "allowed_users_table", "segment_table", "user_table")
            compared = [_compared(changed, one) for one in using]
            counter = _Counter((one for one in compared if one is not None), deadline)
            found = SegmentImpact()
            found.counts = [None if one is None else counter.count(one, found) for one in compared]
            return found
    except FlagstaffError:
        return nothing


class EnabledFlag(NamedTuple):
    """An enabled flag, or a disabled one as it would be if it were enabled."""

    key: str
    state: FlagState
    #: The primary keys of its allowed users.
    allowed: Collection[object]


def impact_of_enabling(flags: Sequence[EnabledFlag], *, timeout: float) -> list[ChangeImpact | str]:
    """Counts the users who gain each of these flags when it is enabled.

    Reads all users and segments once, over Django's connection, however many flags there are. A
    message says why users cannot be counted, or not in `timeout` seconds. Raises no FlagstaffError.
    """
    deadline = monotonic() + timeout
    if not flags:
        return []
    try:
        with limited(deadline):
            require_all_rows("flag_table", "allowed_users_table", "segment_table", "user_table")
            compared = _enabled(flags)
            counter = _Counter(compared, deadline)
            return [counter.impact(one) for one in compared]
    except FlagstaffError as error:
        return [error.message] * len(flags)


class _Compared(NamedTuple):
    """The two states of one flag, with all that their evaluation needs."""

    key: str
    state: FlagState
    states: tuple[CoreState, CoreState]
    inputs: Inputs
    allowed: list[str]
    #: The two states of a value; None for a flag.
    values: tuple[ValueState, ValueState] | None = None


class _Counter:
    """The users, read once, and the deadline."""

    def __init__(self, compared: Iterable[_Compared], deadline: float) -> None:
        self._deadline = deadline
        columns: dict[str, str] = {}
        wanted: list[set[str] | None] = []
        for one in compared:
            columns.update(one.inputs.columns)
            wanted += (groups_of_rules(rules, one.inputs.segments) for _, _, rules, _ in one.states)
        groups = groups_by_user(wanted)
        self._rows = list(read_users(deadline, columns, groups))
        self._names = list(columns) if groups is None else [*columns, "groups"]

    def count(self, one: _Compared, found: SegmentImpact) -> ChangeImpact | ValueImpact | None:
        """Counts one flag or value. Adds its users to `found`, which has them all."""
        if one.values is not None:
            return self._count_value(one, one.values, found)
        try:
            counts = self._run(one, one.states, self._rows, sample=len(self._rows))
            users, gain, lose, changed, _reached = counts
            gained = set(changed) if gain else set()
            if gain and lose:
                off, after = (False, *one.states[1][1:]), one.states[1]
                rows = [row for row in self._rows if str(row[0]) in gained]
                gained = set(self._run(one, (off, after), rows, sample=len(rows))[3])
        except FlagstaffError:
            return None
        found.users = users
        found.gained |= gained
        found.lost |= set(changed) - gained
        return change_impact(counts, (one.state, one.state), one.inputs)

    def _count_value(
        self, one: _Compared, values: tuple[ValueState, ValueState], found: SegmentImpact
    ) -> ValueImpact | None:
        before, after = values
        try:
            counts = impact_on_value(
                one.key,
                len(self._rows),
                (core_value(before), core_value(after)),
                one.inputs.segments,
                self._until_deadline(self._rows),
                (self._names, one.inputs.unknown),
            )
        except FlagstaffError:
            return None
        found.users, _changed, changed, _reached = counts
        found.revalued.update(changed)
        return replace(value_impact_of(one.key, counts, (before, before), one.inputs), sample=())

    def impact(self, one: _Compared) -> ChangeImpact | str:
        """Counts one flag. The rules may read what only a call knows, but not the unit alone."""
        if one.inputs.unknown and not one.state.has_rules:
            return unit_problem(one.key, *one.inputs.unknown)
        try:
            counts = self._run(one, one.states, self._rows, sample=0)
        except FlagstaffError as error:
            return error.message
        return change_impact(counts, (one.state, one.state), one.inputs)

    def _run(
        self,
        one: _Compared,
        states: tuple[CoreState, CoreState],
        rows: Sequence[_UserRow],
        *,
        sample: int,
    ) -> Counts:
        users = self._until_deadline(rows)
        names = self._names, one.inputs.unknown
        return impact_on(one.key, sample, states, one.allowed, one.inputs.segments, users, names)

    def _until_deadline(self, rows: Sequence[_UserRow]) -> Iterator[_UserRow]:
        for number, row in enumerate(rows):
            if number % _CHUNK == 0 and monotonic() >= self._deadline:
                raise FlagstaffError(COUNT_TIMEOUT)
            yield row


def _compared(changed: ChangedConditions, one: UsingRules) -> _Compared | None:
    """Returns None for rules that read something else than columns and groups of users."""
    named = {segment for segment, _place in named_segments(one.state.rules)}
    # The conditions afterwards get names that no other segment of these rules has.
    free = (name for number in count() if (name := f"after {number}") not in named)
    names = dict(zip(named & changed.keys(), free, strict=False))
    renamed = replace(one.state, rules=with_segment_names(one.state.rules, names))
    first, second = core_state(one.state), core_state(renamed)
    values = None
    if one.value is not None:
        values = one.value, replace(one.value, rules=renamed.rules)
        first, second = as_flag_states(map(core_value, values))
    given = {
        name: None if conditions is None else json.dumps(conditions)
        for key in names
        for name, conditions in zip((key, names[key]), changed[key], strict=True)
    }
    inputs = inputs_of((first, second), given)
    if inputs.unknown:
        return None
    allowed = _allowed(one.flag_pk)
    return _Compared(one.key, one.state, (first, second), inputs, allowed, values)


def _enabled(flags: Sequence[EnabledFlag]) -> list[_Compared]:
    """Returns the flags, disabled and enabled. Queries the segments once."""
    named = {key for one in flags for key, _place in named_segments(one.state.rules)}
    given = {**dict.fromkeys(named), **segment_texts(named)}
    to_text = key_to_text()
    compared = []
    for key, state, allowed in flags:
        states = core_state(replace(state, enabled=False)), core_state(state)
        own = {name: given[name] for name, _place in named_segments(state.rules)}
        inputs = inputs_of(states, own)
        compared.append(_Compared(key, state, states, inputs, [*map(to_text, allowed)]))
    return compared


def _allowed(flag_pk: object) -> list[str]:
    if flag_pk is None:
        return []
    [links] = select((ALLOWED_USERS, [flag_pk]))
    return [*map(key_to_text(), (user for (user,) in links))]
