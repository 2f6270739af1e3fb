"""Impact: how many users a different rollout would give the flag to, or take it from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from django.db import DatabaseError, connections, transaction
from django.db.models import ForeignKey, TextField
from django.db.models.functions import Cast

from flagstaff import _core
from flagstaff._connection.vendor import is_postgresql
from flagstaff._core import monotonic
from flagstaff._engine import direct
from flagstaff._engine.raw_cursor import select
from flagstaff._engine.reach import Reach, ReachCounts
from flagstaff._engine.rule_columns import (
    column_of_unit,
    columns_of_rules,
    groups_of_rules,
    read_rules,
    segments_of_rules,
    unknown_attributes,
)
from flagstaff._engine.user_keys import key_to_text
from flagstaff._tables.bucket_units import USER, VISITOR
from flagstaff._tables.catalog import find_tables, why_hidden
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.model_fields import AnyField, segment_model
from flagstaff._tables.names import engine_names, fill, names, sql, user_field, user_names
from flagstaff._tables.rows import all_rows, find_row, flag_row
from flagstaff._tables.sqlstate import error_text
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.text import Text, marked
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, RefreshError
from flagstaff.validators import require_percent

NOT_COUNTED = marked("the users cannot be counted: {why}")
#: The users were not read in time.
COUNT_TIMEOUT = marked("the users could not be counted within the timeout")

_MAX_SAMPLE = 1000
# The properties that a dict of an impact contains.
_DERIVED = "as_if_enabled", "same", "would_have", "direction"

#: Selects the primary keys of the allowed users of a flag.
ALLOWED_USERS = (
    "SELECT {allowed_users_user} FROM {allowed_users_table} WHERE {allowed_users_flag} {equals} %s"
)

# Fields of primary keys that PostgreSQL and Python write as the same text.
_SAME_TEXT = {
    *("AutoField", "BigAutoField", "SmallAutoField"),
    *("IntegerField", "BigIntegerField", "SmallIntegerField"),
    *("PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField"),
    *("CharField", "TextField", "SlugField", "EmailField", "UUIDField"),
}

# How many users Django fetches at a time.
_CHUNK = 2000

#: A state as the core takes it: enabled, rollout in percent, the JSON text of the rules, and the
#: attribute that the flag buckets by.
CoreState: TypeAlias = tuple[bool, int, "str | None", "str | None"]
#: Users, gain, lose, primary keys of some whose result changes, and whom the two states reach.
Counts: TypeAlias = tuple[int, int, int, list[str], tuple[ReachCounts, ReachCounts]]


@dataclass(frozen=True)
class Impact:
    """The effect of a different rollout. For a disabled flag, of enabling it with that rollout."""

    key: str
    #: The flag's present state.
    enabled: bool
    rollout_percent: int
    #: The rollout to compare with.
    percent: int
    #: The number of users: all rows of the user table, active or not.
    users: int
    #: How many of them have the flag now.
    have: int
    #: How many would certainly gain the flag, and how many would lose it.
    gain: int
    lose: int
    #: The primary keys of some users whose result would change, sampled evenly.
    sample: tuple[object, ...]
    #: How many further users may have the flag now, and at the other rollout: their results depend
    #: on attributes that only a call knows.
    unsure: int
    would_be_unsure: int
    #: Whom the flag would reach at the other rollout, by each rule.
    reach: Reach

    @property
    def as_if_enabled(self) -> bool:
        """Whether the flag is disabled, and the other rollout is counted as if it were enabled."""
        return not self.enabled

    @property
    def same(self) -> int:
        """The number of users whose result would stay the same."""
        return self.users - self.gain - self.lose

    @property
    def would_have(self) -> int:
        """The number of users that would have the flag."""
        return self.have + self.gain - self.lose

    @property
    def direction(self) -> str:
        """Whether users would gain or lose the flag; "same" if neither."""
        return "gain" if self.gain else "lose" if self.lose else "same"

    def as_dict(self) -> dict[str, object]:
        """Returns the impact as a dict that JSON can hold."""
        derived = {name: getattr(self, name) for name in _DERIVED}
        sample = [pk if isinstance(pk, int) else str(pk) for pk in self.sample]
        rules = [rule.as_dict() for rule in self.reach.rules]
        counts = {name: value for name, value in vars(self).items() if name != "reach"}
        return {**counts, **derived, "sample": sample, "rules": rules}


def impact(key: str, percent: int, *, sample: int = 10, timeout: float = 10.0) -> Impact:
    """Counts the users whose result would change if the flag's rollout were `percent`.

    No user has a disabled flag at any rollout. So for a disabled flag, this counts the users who
    would have it if it were enabled at `percent`, and `as_if_enabled` is True.

    Counts every user, inactive ones included, with the code that evaluates flags. Writes nothing.
    `sample` is the number of users to list of those whose result would change. The rules and the
    bucketing unit of a flag may read columns of the users, and rules their groups. What they read
    of a context, a visitor or the callable of ATTRIBUTES is unknown: users whose result depends on
    it are not in the numbers, but in `unsure` and `would_be_unsure`.

    Blocks for at most `timeout` seconds; Ctrl-C ends the wait. Raises UnknownFlagError,
    InvalidChangeError if `percent` is not a whole number from 0 to 100, ValueError if `sample` is
    not from 0 to 1000, and FlagstaffError if the users cannot be counted in time, if row level
    security can hide rows, if a rule cannot be read, or if a flag without rules buckets by
    something else than a column.
    """
    require_percent(percent)
    if not 0 <= sample <= _MAX_SAMPLE:
        raise ValueError(f"sample must be from 0 to {_MAX_SAMPLE}, not {sample!r}")
    deadline = monotonic() + timeout
    with limited(deadline):
        require_all_rows("flag_table")
        flag = flag_row(key)
    if flag.enabled is None or direct.whole_percent(flag.rollout_percent) is None:
        raise FlagstaffError(
            "flag {key} cannot be evaluated: one of its columns is NULL", key=repr(key)
        )
    now = FlagState.of(flag)
    # While the flag is disabled, its rollout alone changes nothing.
    proposed = replace(now, enabled=True, rollout_percent=percent)
    found = _count(key, now, proposed, sample, deadline, flag.pk)
    field = user_field(conf.flag_model)
    enabled, rollout_percent, *_ = core_state(now)
    return Impact(
        key,
        enabled=enabled,
        rollout_percent=rollout_percent,
        percent=percent,
        users=found.users,
        have=found.before.on,
        gain=found.gain,
        lose=found.lose,
        sample=tuple(field.to_python(pk) for pk in found.sample),
        unsure=found.before.unsure,
        would_be_unsure=found.after.unsure,
        reach=found.after,
    )


@dataclass(frozen=True)
class ChangeImpact:
    """The effect of a change on the users whose results are known before and after it."""

    users: int
    #: How many certainly gain the flag, and how many lose it.
    gain: int
    lose: int
    before: Reach
    after: Reach
    #: The primary keys, as texts, of some users whose result changes.
    sample: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether no result depends on what only a call knows.

        Results of anonymous users, who are not counted, may depend on it even if no user is unsure.
        """
        return not (self.before.depends_on_calls or self.after.depends_on_calls)

    def as_dict(self) -> dict[str, object]:
        """Returns the numbers as a dict that JSON can hold."""
        return {
            "users": self.users,
            "gain": self.gain,
            "lose": self.lose,
            "after": self.after.on,
            "exact": self.is_exact,
        }


def impact_of_change(
    key: str, before: FlagState, after: FlagState, *, timeout: float, pk: object = None
) -> ChangeImpact:
    """Counts the users whose result differs between two states of a flag.

    `pk` is the primary key of the flag if it is known, which saves a query. Allowed users and
    segments are the present ones. Counts a key without a flag, too. Blocks and raises as `impact`
    does, but for UnknownFlagError.
    """
    return _count(key, before, after, 0, monotonic() + timeout, pk)


def core_state(state: FlagState) -> CoreState:
    """Returns a state as the core takes it."""
    percent = direct.whole_percent(state.rollout_percent)
    unit = None if state.bucket_by == USER else state.bucket_by
    rules = _rules_text(state.rules) if state.has_rules else None
    return state.enabled and percent is not None, percent or 0, rules, unit


def _rules_text(rules: Any) -> str:
    return str(rules) if isinstance(rules, UnreadableJson) else json.dumps(rules)


def _count(  # noqa: PLR0913, PLR0917 (which flag, which states, and how long)
    key: str, before: FlagState, after: FlagState, sample: int, deadline: float, pk: object = None
) -> ChangeImpact:
    states = core_state(before), core_state(after)
    counts = _count_over_pool(key, states, sample, deadline)
    inputs = Inputs({}, {}, set())
    if counts is None:
        counts, inputs = _count_through_django(key, states, sample, deadline, pk)
    return change_impact(counts, (before, after), inputs)


def change_impact(
    counts: Counts, states: tuple[FlagState, FlagState], inputs: Inputs
) -> ChangeImpact:
    """Returns what the core has counted for two states with these inputs."""
    users, gain, lose, sample, reached = counts
    before, after = (
        Reach.of(
            found,
            state,
            inputs.segments,
            state.bucket_by if state.bucket_by in inputs.unknown else "",
        )
        for found, state in zip(reached, states, strict=True)
    )
    return ChangeImpact(users, gain, lose, before, after, tuple(sample))


def _count_over_pool(
    key: str, states: tuple[CoreState, CoreState], sample: int, deadline: float
) -> Counts | None:
    """Counts over the engine's pool; None if only Django can count.

    The pool needs a third of this process's CPU time, without the GIL and Django's connection.
    Rules and units read columns that only Django knows.
    """
    before, after = states
    if any((*before[2:], *after[2:])):
        return None
    field = user_field(conf.flag_model)
    _core.start()
    if (
        _core.status_report()["mode"] == "direct"
        or direct.reads_own_writes()
        or not _has_same_text(field)
        or "\0" in key
    ):
        return None
    connection = connections[conf.engine_database]
    places = engine_names(connection, user_names(connection, field))
    statements = (
        fill(sql("impact_allowed_users_v1"), places),
        sql("impact_extent_v1"),
        fill(sql("impact_users_v1"), places),
    )
    try:
        return _core.impact(
            key,
            (before[:2], after[:2]),
            sample,
            statements,
            places["user_table"],
            max(0, deadline - monotonic()),
        )
    except RefreshError as error:
        raise FlagstaffError(error.message) from error


def _has_same_text(field: AnyField) -> bool:
    """Returns True if PostgreSQL and Python write a primary key as the same text."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return field.get_internal_type() in _SAME_TEXT and not hasattr(field, "from_db_value")


def _count_through_django(
    key: str, states: tuple[CoreState, CoreState], sample: int, deadline: float, pk: object
) -> tuple[Counts, Inputs]:
    """Counts over Django's own connection, which sees the rows of an open transaction.

    Returns the inputs, too.
    """
    with limited(deadline):
        require_all_rows("flag_table", "allowed_users_table", "segment_table", "user_table")
        if pk is None and (flag := find_row(conf.flag_model, key)):
            pk = flag.pk
        inputs = inputs_of(states)
        if inputs.unknown and not any(rules for _, _, rules, _ in states):
            raise FlagstaffError(unit_problem(key, *inputs.unknown))
        segments, columns = inputs.segments, inputs.columns
        groups = groups_by_user(groups_of_rules(rules, segments) for _, _, rules, _ in states)
        # A flag that is about to be added has no allowed users.
        [links] = [[]] if pk is None else select((ALLOWED_USERS, [pk]))
        allowed = [*map(key_to_text(), (user for (user,) in links))]
        names = list(columns) if groups is None else [*columns, "groups"]
        users = read_users(deadline, columns, groups)
        counts = _core.impact_on(
            key, sample, states, allowed, segments, users, (names, inputs.unknown)
        )
        return counts, inputs


def unit_problem(key: str, unit: str) -> Text:
    """Returns why the users of a flag without rules are not counted."""
    flag = json.dumps(key, ensure_ascii=False)
    why = (
        Text("flag {key} is bucketed by visitor, and visitors are not in the database", key=flag)
        if unit == VISITOR
        else Text(
            "flag {key} is bucketed by {name}, which is not a column in ATTRIBUTES; results of "
            "functions and context cannot be counted",
            key=flag,
            name=json.dumps(unit, ensure_ascii=False),
        )
    )
    return Text(NOT_COUNTED, why=why)


@contextmanager
def limited(deadline: float) -> Iterator[None]:
    """Ends a statement that waits or takes too long; an open transaction can go on.

    Raises FlagstaffError for all errors of the database.
    """
    connection = connections[conf.database]
    milliseconds = max(1, int((deadline - monotonic()) * 1000))
    try:
        with transaction.atomic(using=connection.alias):
            if is_postgresql(connection):
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {milliseconds}")
            yield
            # Nothing was written, and this takes back the limit.
            transaction.set_rollback(True, using=connection.alias)
    except DatabaseError as error:
        raise FlagstaffError(NOT_COUNTED, why=error_text(error)) from error


class Inputs(NamedTuple):
    """What the evaluation of a flag needs."""

    #: The segments that rules name, as JSON texts by key.
    segments: dict[str, str]
    #: The columns of users that rules and the bucketing unit read, by their names there.
    columns: Mapping[str, str]
    #: The names of what they read and only a call knows.
    unknown: set[str]


def inputs_of(
    states: tuple[CoreState, CoreState], given: Mapping[str, str | None] | None = None
) -> Inputs:
    """Returns what the evaluation of two states needs. Queries the segments.

    `given` are the conditions of some segments in place of the stored ones; None for no segment.
    """
    texts, given = dict.fromkeys(rules for _, _, rules, _ in states), given or {}
    named = sorted(set().union(*map(segments_of_rules, texts)).difference(given))
    segments = segment_texts(named)
    segments |= {name: text for name, text in given.items() if text is not None}
    columns: dict[str, str] = {}
    unknown: set[str] = set()
    for rules in texts:
        columns.update(columns_of_rules(rules, segments))
        unknown.update(*unknown_attributes(read_rules(rules), segments))
    for unit in {unit for *_others, unit in states if unit is not None}:
        column = column_of_unit(unit)
        columns.update(column)
        unknown.update(() if column else (unit,))
    return Inputs(segments, columns, unknown)


def segment_texts(keys: Collection[str]) -> dict[str, str]:
    """Returns the conditions of these segments as JSON texts, by key."""
    if not keys:
        return {}
    rows = all_rows(segment_model()).filter(key__in=keys)
    return dict(rows.values_list("key", Cast("conditions", TextField())))


def groups_by_user(groups_of_each: Iterable[set[str] | None]) -> Mapping[str, list[str]] | None:
    """Returns the names of the groups of each member, by the user's key as text.

    Reads only groups that rules depend on, as `groups_of_rules` returns them. Returns None if there
    are none, or if groups cannot be read: then they are missing for every user.
    """
    wanted = [*groups_of_each]
    names = set[str]().union(*(one or () for one in wanted))
    if not names and None not in wanted:
        return None
    require_all_rows("membership_table", "group_table")
    found = direct.read_groups(None if None in wanted else sorted(names))
    groups: dict[str, list[str]] = {}
    for name, users in found or ():
        for user in users:
            groups.setdefault(user, []).append(name)
    return None if found is None else groups


def require_all_rows(*tables: str) -> None:
    """Raises FlagstaffError if row level security can hide rows: the numbers would be wrong.

    `tables` are placeholders. Those of groups have no table where groups cannot be read.
    """
    connection = connections[conf.database]
    if not is_postgresql(connection):
        return
    places = {**names(connection), **user_names(connection, user_field(conf.flag_model))}
    wanted = [places[table] for table in tables if table in places]
    for table in find_tables(connection, *wanted).values():
        if table.hides_rows:
            raise FlagstaffError(NOT_COUNTED, why=why_hidden(table))


def read_users(
    deadline: float, columns: Mapping[str, str], groups: Mapping[str, list[str]] | None
) -> Iterator[tuple[Any, ...]]:
    """Yields the primary key of each user, with the value of each column, and the groups."""
    rows = allowed_user_table().rows.order_by().values_list("pk", *columns.values())
    for count, row in enumerate(rows.iterator(chunk_size=_CHUNK)):
        if count % _CHUNK == 0 and monotonic() >= deadline:
            raise FlagstaffError(COUNT_TIMEOUT)
        yield row if groups is None else (*row, groups.get(str(row[0]), []))
