"""Impact on a value: how many users get which result, and how many another one by a change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from flagstaff._core import impact_on_value, monotonic
from flagstaff._engine.impact import (
    CoreState,
    Inputs,
    groups_by_user,
    inputs_of,
    limited,
    read_users,
    require_all_rows,
)
from flagstaff._engine.reach import Reach, ReachCounts
from flagstaff._engine.rule_columns import groups_of_rules
from flagstaff._tables.bucket_units import USER
from flagstaff._tables.decoding import encoded
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import Fields, value_row
from flagstaff._tables.value_states import ValueState
from flagstaff._words.json_text import UnreadableJson, sorted_json
from flagstaff._words.text import Text, marked

_MAX_SAMPLE = 1000

_OWN = marked("the value itself: {count} of {users}")
_OWN_AT_LEAST = marked("the value itself: at least {count} of {users}")


#: A state as the core takes it: JSON texts of the value itself and of its rules, and the attribute
#: that they bucket by.
CoreValue: TypeAlias = tuple[str, "str | None", "str | None"]
#: Users, those whose value changes, primary keys of some of them, and whom the two states reach.
ValueCounts: TypeAlias = tuple[int, int, list[str], tuple[ReachCounts, ReachCounts]]


@dataclass(frozen=True)
class ResultUsers:
    """The users who get one result of a value: the value itself, or what a rule gives."""

    #: The number of the rule; 0 for the value itself.
    rule: int
    #: Such as 'rule 2 ("beta")'; "" for the value itself.
    place: str
    #: How many users certainly get it.
    users: int
    #: How many further users may get it: that depends on what only a call knows.
    unsure: int
    #: The numbers in words, or why there are none: "rule 1: 9 of 90". Never the result itself,
    #: which may be secret.
    text: Text

    def as_dict(self) -> dict[str, object]:
        """Returns the numbers as a dict that JSON can hold."""
        return {name: value for name, value in vars(self).items() if name not in {"place", "text"}}


@dataclass(frozen=True)
class ValueReach:
    """Which users get which result in one state of a value."""

    #: The users of the value itself first, then those of each rule.
    by_result: tuple[ResultUsers, ...]
    #: How many users certainly get another value than the value itself.
    others: int
    #: How many further users have a value that depends on what only a call knows.
    unsure: int
    #: Whether no result depends on that, not even one of users that are not counted.
    is_exact: bool

    @classmethod
    def of(cls, reach: Reach, users: int) -> ValueReach:
        """Returns the results of users, of whom a rule gives its result to those who are "on"."""
        rules = [
            ResultUsers(
                number,
                rule.place,
                rule.on,
                rule.unsure + (rule.users - rule.on if rule.unknown_unit else 0),
                Text("{place}: {reach}", place=rule.place, reach=rule.text),
            )
            for number, rule in enumerate(reach.rules, start=1)
        ]
        own = reach.others.users + sum(
            rule.users - rule.on for rule in reach.rules if not rule.unknown_unit
        )
        unsure = users - own - sum(rule.users for rule in rules)
        text = Text(_OWN_AT_LEAST if unsure else _OWN, count=own, users=users)
        if unsure and not own:
            text = Text("the value itself: not counted")
        return cls(
            (ResultUsers(0, "", own, unsure, text), *rules),
            reach.on,
            reach.unsure,
            not reach.depends_on_calls,
        )

    @property
    def texts(self) -> list[Text]:
        """The numbers of each rule, and of the value itself; empty without rules."""
        own, *rules = self.by_result
        return [*(rule.text for rule in rules), own.text] if rules else []


@dataclass(frozen=True)
class ValueImpact:
    """The effect of a change of a value on the users."""

    key: str
    #: The number of users: all rows of the user table, active or not.
    users: int
    #: How many of them certainly have another value after the change.
    changed: int
    before: ValueReach
    after: ValueReach
    #: The primary keys, as texts, of some users whose value changes, sampled evenly.
    sample: tuple[str, ...] = ()

    @property
    def by_result(self) -> tuple[ResultUsers, ...]:
        """The users of each result after the change: of the value itself, then of each rule."""
        return self.after.by_result

    @property
    def others(self) -> int:
        """How many users certainly have another value than the value itself after the change."""
        return self.after.others

    @property
    def unsure(self) -> int:
        """How many further users have a value then that depends on what only a call knows."""
        return self.after.unsure

    @property
    def is_exact(self) -> bool:
        """Whether no result depends on what only a call knows, before or after the change."""
        return self.before.is_exact and self.after.is_exact

    def as_dict(self) -> dict[str, object]:
        """Returns the numbers as a dict that JSON can hold, without any value: it may be secret."""
        return {
            "key": self.key,
            "users": self.users,
            "changed": self.changed,
            "others": self.others,
            "unsure": self.unsure,
            "exact": self.is_exact,
            "results": [one.as_dict() for one in self.by_result],
            "sample": list(self.sample),
        }


def value_impact(
    key: str, fields: Fields | None = None, *, sample: int = 10, timeout: float = 10.0
) -> ValueImpact:
    """Counts which users would get which value if these fields of a value changed.

    `fields` may have `value`, `rules` and `bucket_by`; without them, nothing changes, and the
    result says who gets which value now.

        from flagstaff import value_impact

        value_impact("max_items", {"rules": rules}).changed

    Counts every user, inactive ones included, with the code that evaluates values. Writes nothing.
    `sample` is the number of users to list of those whose value would change. What rules read of a
    context, a visitor or the callable of ATTRIBUTES is unknown: users whose value depends on it are
    not in the numbers, but in `unsure`.

    Blocks for at most `timeout` seconds. Raises UnknownValueError, ValueError if `sample` is not
    from 0 to 1000, and FlagstaffError if the users cannot be counted in time, if row level security
    can hide rows, or if a rule cannot be read.
    """
    if not 0 <= sample <= _MAX_SAMPLE:
        raise ValueError(f"sample must be from 0 to {_MAX_SAMPLE}, not {sample!r}")
    deadline = monotonic() + timeout
    with limited(deadline):
        require_all_rows("value_table")
        before = ValueState.of(value_row(key))
    after = replace(before, **(fields or {}))
    return _count(key, before, after, sample, deadline)


def impact_of_value_change(
    key: str, before: ValueState, after: ValueState, *, timeout: float, sample: int = 0
) -> ValueImpact:
    """Counts the users whose value differs between two states, with the segments of now.

    Counts a key without a value, too. Blocks and raises as `value_impact` does, but for
    UnknownValueError.
    """
    return _count(key, before, after, sample, monotonic() + timeout)


def core_value(state: ValueState) -> CoreValue:
    """Returns a state as the core takes it. Equal results have equal texts."""
    rules = None
    if isinstance(state.rules, UnreadableJson):
        rules = str(state.rules)
    elif state.has_rules:
        rules = sorted_json(json.dumps(state.rules), allow_nan=True)
    try:
        own = sorted_json(encoded(state.value), allow_nan=True)
    except ValueError:  # The text of a field that is not JSON.
        own = encoded(state.value)
    return own, rules, None if rules is None or state.bucket_by == USER else state.bucket_by


def as_flag_states(values: Iterable[CoreValue]) -> tuple[CoreState, CoreState]:
    """Returns what decides as for flags that are enabled at 0 %: the rules give, or nothing."""
    before, after = ((True, 0, rules, unit) for _own, rules, unit in values)
    return before, after


def _count(
    key: str, before: ValueState, after: ValueState, sample: int, deadline: float
) -> ValueImpact:
    values = core_value(before), core_value(after)
    with limited(deadline):
        require_all_rows("segment_table", "user_table")
        inputs = inputs_of(as_flag_states(values))
        groups = groups_by_user(groups_of_rules(rules, inputs.segments) for _, rules, _ in values)
        names = [*inputs.columns] if groups is None else [*inputs.columns, "groups"]
        users = read_users(deadline, inputs.columns, groups)
        counts = impact_on_value(
            key, sample, values, inputs.segments, users, (names, inputs.unknown)
        )
    return value_impact_of(key, counts, (before, after), inputs)


def value_impact_of(
    key: str,
    counts: ValueCounts,
    states: Sequence[ValueState],
    inputs: Inputs,
) -> ValueImpact:
    """Returns what the core has counted for two states with these inputs."""
    users, changed, sample, reached = counts
    before, after = (
        ValueReach.of(_reach(found, state, inputs), users)
        for found, state in zip(reached, states, strict=True)
    )
    return ValueImpact(key, users, changed, before, after, tuple(sample))


def _reach(counts: ReachCounts, state: ValueState, inputs: Inputs) -> Reach:
    as_flag = FlagState(enabled=True, rollout_percent=0, rules=state.rules)
    unknown_unit = state.bucket_by if state.bucket_by in inputs.unknown else ""
    return Reach.of(counts, as_flag, inputs.segments, unknown_unit)
