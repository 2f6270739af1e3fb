"""Impact: what a change of rows means for the users, counted before it is made.

The rows before and after make two snapshots, and the users are evaluated with both. Nothing is
locked or written, so it works for a viewer, on a replica, and with READ_ONLY.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import chain, islice
from random import Random
from typing import Any, TypeAlias, cast

from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet, Subquery

from flagstaff import _core
from flagstaff._core import monotonic
from flagstaff._engine import direct, forced_off, forced_on
from flagstaff._engine.users import column_attributes, key_to_text
from flagstaff._log import place_of
from flagstaff._tables.attributes import counted_objects
from flagstaff._tables.catalog import find_tables, why_hidden
from flagstaff._tables.database import db, error_text, names, user_field
from flagstaff._tables.rows import USER, VISITOR, Kind, find_field
from flagstaff._tables.states import FlagState, ValueState
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import canonical_json, say
from flagstaff.changes.consequence import code_text, is_off
from flagstaff.changes.fields import Changed, allowed_pks_of
from flagstaff.changes.row_states import Effect, Impact, Key, RowState, rules_of
from flagstaff.changes.rule_use import Name, names_in, read_named, uses_of
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import deciding_code
from flagstaff.history.describe import HasPermissions, may_see_users

# The name of a column of users, or a query of each user.
_Column: TypeAlias = "str | Subquery"

#: The users were not read in time.
COUNT_TIMEOUT = say("the time limit was reached")
#: Why a person who may not view users sees no numbers.
HIDDEN = say("the rules read attributes of users, which you may not view")

# Users beyond this number are sampled.
_MAX_USERS = 200_000
_SAMPLE = 100_000
# Users, and pages of the table, that are read at a time.
_BATCH, _PAGES = 10_000, 64
# Between two looks at the clock.
_EVALUATIONS = 100_000
_TABLES = (
    "flag_table",
    "allowed_users_table",
    "segment_table",
    "user_table",
    "membership_table",
    "group_table",
)
_PERMISSIONS = ("is_staff", "is_superuser")
_BUILT_IN = ("is_authenticated", "groups")
_ON_PAGES = (
    "ctid OPERATOR(pg_catalog.>=) %s::pg_catalog.tid "
    "AND ctid OPERATOR(pg_catalog.<) %s::pg_catalog.tid"
)
# No row for what has no pages of its own: a view, a partitioned table, or one with child tables.
_TABLE_PAGES = """
    SELECT pg_catalog.pg_relation_size(c.oid)
        OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::int8
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_am AS a ON a.oid OPERATOR(pg_catalog.=) c.relam
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::oid
        AND c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relhassubclass
        AND a.amname OPERATOR(pg_catalog.=) 'heap'
"""


def impact_of_enabling(
    flags: Sequence[Any], *, timeout: float = 1.0, viewer: HasPermissions | None = None
) -> Impact:
    """Counts who has each of these flags if it is enabled, as a change from disabled flags.

    Not what depends on them.
    """
    states = [RowState(Kind.FLAG, flag) for flag in flags]
    off, on = ([state.after({"enabled": is_on}) for state in states] for is_on in (False, True))
    return count_users(Impact(off, on), timeout=timeout, viewer=viewer)


def sides_of(changes: Iterable[Changed]) -> tuple[list[RowState], list[RowState]]:
    """Returns the rows before and after changes. No two changes may be of one row."""
    states = [(change.before, change.after) for change in changes if change.before and change.after]
    return [before for before, _after in states], [after for _before, after in states]


def impact(
    before: Sequence[RowState],
    after: Sequence[RowState],
    *,
    timeout: float = 1.0,
    viewer: HasPermissions | None = None,
) -> Impact:
    """Returns what a change reaches, counted by `count_users`."""
    return count_users(reached(before, after), timeout=timeout, viewer=viewer)


def count_users(
    effects: Impact, *, timeout: float = 1.0, viewer: HasPermissions | None = None
) -> Impact:
    """Counts the users whose results differ, for what a change reaches, and returns it.

    Counts what changes itself, and what uses a segment that changes. Reads every user, inactive
    ones included, for at most `timeout` seconds; of more than 200,000, a sample. What cannot be
    counted has a `problem`. A `viewer` who may not view users sees no small numbers, and none of
    rules that read attributes of users.
    """
    used = [(use.kind, use.key) for use in effects.uses if use.is_active]
    differing = _differing(effects)
    named = _read_named(effects)
    effects |= _effects_of_code(effects, [*differing, *used], named)
    keys = [key for key in dict.fromkeys([*differing, *used]) if _may_differ(effects, key)]
    keys = [key for key in keys if key not in effects]
    if not keys:
        return effects
    effects |= dict.fromkeys(keys, Effect(None))
    problem: Any = None
    try:
        with limited(timeout) as deadline:
            _count(effects, keys, named, deadline)
    except FlagstaffError as error:
        problem = error.message
    except Exception as error:  # noqa: BLE001 (a field of the project, such as one that decrypts)
        problem = place_of(error)
    if problem is not None:
        effects |= {key: replace(effects[key], users=None, problem=problem) for key in keys}
    return effects if viewer is None or may_see_users(viewer) else rounded(effects)


def rounded(exact: Impact) -> Impact:
    """Returns an impact as a person sees it who may not view users.

    A count of rules that read attributes is a way to read a column, letter by letter.
    """
    effects = copy(exact)
    for key, effect in exact.items():
        if all(_is_known_to_all(key, side.get(key)) for side in exact.sides):
            continue
        effects[key] = replace(effect, hides_small=True)
        if effect.reads_users and not effect.problem:
            effects[key] = Effect(
                None,
                anonymous=effect.anonymous,
                anonymous_changed=effect.anonymous_changed,
                ignored=effect.ignored,
                hides_small=True,
                reads_users=True,
                problem=HIDDEN,
            )
            effects.changed = None
    return effects


def _is_known_to_all(key: Key, state: RowState | None) -> bool:
    """Whether the number of users says nothing of one user: it is all, none, or the allowed users.

    Pages show the numbers of all users and of allowed users to everybody.
    """
    if key[0] is Kind.VALUE:
        return state is None or not ValueState.of(state.row).has_rules
    if key[0] is not Kind.FLAG:
        return False
    if state is None:
        # Without a row, no user has the flag.
        return True
    flag = FlagState.of(state.row)
    return flag.is_for_everybody or not flag.reaches_users(allowed=lambda: 0)


def reached(before: Iterable[RowState], after: Iterable[RowState]) -> Impact:
    """Returns what a change reaches, not counted: the rows, and what uses those that change."""
    effects = Impact(before, after)
    moved = [cast("Name", key) for key in _differing(effects) if _moves_others(effects, key)]
    giving = [name for name in moved if not _never_waits(effects, name)]
    effects.uses = uses_of(moved) if moved else ()
    effects.given = effects.uses if giving == moved else uses_of(giving) if giving else ()
    for use in effects.uses:
        key = use.kind, use.key
        # A row that changes itself has its own states, or is deleted.
        if use.kind is not None and key not in effects.rows:
            effects.before[key] = effects.after[key] = RowState(use.kind, use.row)
    return effects


def _differing(effects: Impact) -> list[Key]:
    before, after = effects.sides
    return [key for key in effects.rows if _deciding(before.get(key)) != _deciding(after.get(key))]


def reached_beside(before: RowState, after: RowState) -> Impact:
    """Returns what else a change of one row reaches: what uses it."""
    effects, beside = reached([before], [after]), Impact([], [])
    beside.uses, beside.given = effects.uses, effects.given
    for use in effects.uses:
        if use.kind is not None and (use.kind, use.key) not in effects.rows:
            beside.before[use.kind, use.key] = beside.after[use.kind, use.key] = effects.before[
                use.kind, use.key
            ]
    return beside


def _moves_others(effects: Impact, key: Key) -> bool:
    """Whether what depends on a row may have other results: not on a flag that stays off."""
    if key[0] is Kind.FLAG:
        return any(side[key].row.enabled for side in effects.sides if key in side)
    return key[0] is Kind.SEGMENT


def _never_waits(effects: Impact, key: Key) -> bool:
    """Whether a flag is turned off, or its rollout is set to 0: no right but that for it is needed.

    Off gives nothing: a condition on the flag is false then, whatever it asks for. At 0 %, one with
    rules can give what asks for it to be off. These users are counted, and delay nothing.
    """
    before, after = (side.get(key) for side in effects.sides)
    if key[0] is not Kind.FLAG or before is None or after is None:
        return False
    old, new = FlagState.of(before.row), FlagState.of(after.row)
    has_same_users = after.allowed_users is None or after.allowed_users == before.allowed_users
    return not new.enabled or (new == replace(old, rollout_percent=0) and has_same_users)


def _read_named(effects: Impact) -> dict[Name, RowState]:
    """Returns what the rules of both sides name, and what these name; not what changes itself."""
    rules = [rules_of(state.row) for side in effects.sides for state in side.values()]
    rules += [use.rules for use in effects.uses if use.kind is None]
    wanted = {name for row_rules in rules for name, _place in names_in(row_rules)}
    read = read_named(wanted, {*effects.before, *effects.after})
    return {name: RowState(name[0], row) for name, row in read.items()}


def _effects_of_code(
    effects: Impact, keys: Sequence[Key], named: Mapping[Name, RowState]
) -> dict[Key, Effect]:
    """Returns the effects on flags about which code of the project decides unless they are off.

    Also on what depends on such a flag.
    """
    sides = [{**named, **side} for side in effects.sides]
    flags = {key for side in sides for kind, key in side if kind is Kind.FLAG}
    codes = {
        (Kind.FLAG, key): code
        for key, code in deciding_code(flags).items()
        if not all(is_off(side.get((Kind.FLAG, key))) for side in sides)
    }
    if not codes:
        return {}
    by_code = dict[Key, Effect]()
    for key, needed in _needed(effects, keys, sides).items():
        if key in codes:
            by_code[key] = Effect(None, problem=code_text(codes[key]), code=codes[key])
        elif code := next((codes[at] for at in needed if at in codes), None):
            by_code[key] = Effect(None, problem=code_text(code))
    return by_code


def _needed(
    effects: Impact, keys: Sequence[Key], sides: Sequence[Mapping[Any, RowState]]
) -> dict[Key, list[Any]]:
    """Returns the names of these rows, each with what its rules need, also through others."""
    rules = {(use.kind, use.key): [use.rules] for use in effects.uses if use.kind is None}
    for side in sides:
        for at, state in side.items():
            rules.setdefault(at, []).append(rules_of(state.row))
    needed_by_key = dict[Key, list[Any]]()
    for key in keys:
        needed: list[Any] = [key]
        for at in needed:
            named_by = {name for of_row in rules.get(at, ()) for name, _place in names_in(of_row)}
            needed += named_by.difference(needed)
        needed_by_key[key] = needed
    return needed_by_key


def _deciding(state: RowState | None) -> object:
    """Returns what decides about results: the core's row, and the given allowed users."""
    if state is None:
        return None
    users = state.allowed_users
    return _core_row(state), None if users is None else {*users}


def _may_differ(effects: Impact, key: Key) -> bool:
    """Whether a result can differ: a segment has none, and a disabled flag is off."""
    if key[0] is not Kind.FLAG:
        return key[0] is not Kind.SEGMENT
    return any(side[key].row.enabled for side in effects.sides if key in side)


def _is_decided_by_fields(side: RowState | None) -> bool:
    """Whether no attribute decides: a flag is off, or on for everybody, or by its rollout."""
    if side is None or side.kind is not Kind.FLAG:
        return False
    flag = FlagState.of(side.row)
    is_by_rollout = not flag.has_rules and flag.bucket_by == USER
    return not flag.enabled or flag.is_for_everybody or is_by_rollout


def _core_row(state: RowState) -> tuple[Any, ...]:
    """Returns a row as `_core` takes it. Its key stands for its primary key."""
    row, key = state.row, state.row.key
    if state.kind is Kind.SEGMENT:
        return key, key, _json(row.conditions)
    if state.kind is Kind.VALUE:
        value = ValueState.of(row)
        return key, key, _json(value.value), False, False, _rules(value), value.bucket_by
    flag = FlagState.of(row)
    percent = direct.whole_percent(row.rollout_percent)
    return key, key, row.enabled, percent, False, _rules(flag), flag.bucket_by


def _rules(state: FlagState | ValueState) -> str | None:
    return _json(state.rules) if state.has_rules else None


def _json(value: Any) -> str:
    """Returns JSON in which equal values have equal texts."""
    return canonical_json(value, allow_nan=True)


def _count(
    effects: Impact, keys: Sequence[Key], named: Mapping[Name, RowState], deadline: float
) -> None:
    """Sets the effects. Raises FlagstaffError if the users cannot be counted.

    `named` are the segments and flags that are needed, and do not change.
    """
    sides = [{**named, **side} for side in effects.sides]
    allowed, columns, read = _allowed_users(sides), _user_columns(), dict[str, _Column]()
    # A property of the user model is code, and not counted; without one, it is missing.
    model = user_field(conf.flag_model).model
    known_names = {
        *columns,
        *_BUILT_IN,
        *(permission for permission in _PERMISSIONS if not hasattr(model, permission)),
    }
    before, after = _rows(effects, sides, allowed)
    forced = {(Kind.FLAG, key) for key in forced_off.keys | forced_on.keys}
    needed = _needed(effects, keys if forced else (), sides)
    names = [("experiment" if kind is None else kind.value, key) for kind, key in keys]
    comparison = _core.Comparison(before, after, names)
    for key, of_sides in zip(keys, comparison.attributes(), strict=True):
        problem = say("its rules cannot be read") if of_sides is None else ""
        before_and_after = of_sides or (set[str](), set[str]())
        attributes = set[str]().union(*before_and_after)
        effects[key] = replace(
            effects[key],
            ignored=tuple(sorted(attributes - known_names)),
            is_certain=tuple(
                names_of_side <= known_names or _is_decided_by_fields(side.get(key))
                for names_of_side, side in zip(before_and_after, effects.sides, strict=True)
            ),
            forced=tuple(
                sorted(name for _kind, name in forced.intersection(needed.get(key, ())[1:]))
            ),
            reads_users=bool(attributes - {"is_authenticated"}),
            problem=problem,
        )
        read |= {name: columns[name] for name in attributes if name in columns}
    queries = (column.query for column in read.values() if isinstance(column, Subquery))
    _require_all_rows(*(table for query in queries for table in _tables_of(query)))
    _, counts = comparison.count(iter([(None, *[None] * len(read))]), [*read])
    for key, (_gain, _lose, had, has, changed) in zip(keys, counts, strict=True):
        anonymous = had > 0, has > 0
        effects[key] = replace(effects[key], anonymous=anonymous, anonymous_changed=changed > 0)
    listed = {user for side in allowed for users in side.values() for user in users}
    counted, is_estimate = _read(comparison, read, listed, deadline)
    users, effects.changed, *numbers = counted
    if any(effects[key].problem for key in keys):
        effects.changed = None
    for number, key in enumerate(keys):
        gain, lose, had, has, changed = numbers[5 * number : 5 * number + 5]
        if not effects[key].problem:
            effects[key] = replace(
                effects[key],
                users=users,
                gain=gain,
                lose=lose,
                on=(had, has),
                changed=changed,
                is_estimate=is_estimate,
            )


def _allowed_users(of_sides: Sequence[Mapping[Key, RowState]]) -> list[dict[str, list[str]]]:
    """Returns the allowed users of the flags before and after, as texts, by key."""
    sides = [
        {key: state for (kind, key), state in side.items() if kind is Kind.FLAG}
        for side in of_sides
    ]
    flags = {state.row.pk: state.row for side in sides for state in side.values() if state.row.pk}
    to_text = key_to_text()
    stored = {
        pk: [to_text(user) for user in users]
        for pk, users in (allowed_pks_of([*flags.values()]) if flags else {}).items()
    }

    def texts(state: RowState) -> list[str]:
        if state.allowed_users is None:
            return stored.get(state.row.pk, [])
        return [to_text(user) for user in state.allowed_users]

    return [{key: texts(state) for key, state in side.items()} for side in sides]


def _rows(
    effects: Impact,
    sides: Sequence[Mapping[Key, RowState]],
    allowed: Sequence[Mapping[str, list[str]]],
) -> Iterator[tuple[Any, ...]]:
    """Yields the rows before and after, as `direct.read_all` returns them."""
    others = [use.row for use in effects.uses if use.kind is None and use.is_active]
    experiments = [
        row
        for experiment in others
        for row in cast("list[Any]", direct.read_all(experiment.key)[4])
    ]
    for side, users in zip(sides, allowed, strict=True):
        by_kind: dict[Kind, list[Any]] = {kind: [] for kind in Kind}
        for state in side.values():
            by_kind[state.kind].append(_core_row(state))
        flags, values, of_segments = by_kind.values()
        yield flags, [*users.items()], of_segments, values, experiments


def _read(
    comparison: _core.Comparison,
    columns: Mapping[str, _Column],
    listed: Collection[str],
    deadline: float,
) -> tuple[list[int], bool]:
    """Returns the users, how many results differ, and five counts of each key; and if estimated.

    Of a sample, the allowed users, who are `listed`, are counted apart: all of them matter.
    """
    table, names = allowed_user_table(), [*columns]
    rows = table.rows.values_list("pk", *columns.values()).order_by()
    exact = counted = [0] * (2 + 5 * len(comparison.attributes()))

    # With hundreds of rows, all users of a batch would take longer than the limit.
    most_users = max(1, _EVALUATIONS // len(comparison.attributes()))

    def plus(counts: list[int], users: Iterable[tuple[Any, ...]]) -> list[int]:
        remaining = iter(users)
        while part := [*islice(remaining, most_users)]:
            if monotonic() >= deadline:
                raise FlagstaffError(COUNT_TIMEOUT)
            changed, of_keys = comparison.count(iter(part), names)
            figures = len(part), changed, *chain(*of_keys)
            counts = [*map(sum, zip(counts, figures, strict=True))]
        return counts

    by_pk = rows.order_by("pk")
    batch = [*by_pk[:_BATCH]]
    # The users of most projects fit into one batch, and take no other query.
    if len(batch) < _BATCH or rows[: _MAX_USERS + 1].count() <= _MAX_USERS:
        exact = plus(exact, batch)
        while len(batch) == _BATCH:
            batch = [*by_pk.filter(pk__gt=batch[-1][0])[:_BATCH]]
            exact = plus(exact, batch)
        return exact, False
    for pks in db.batches(map(table.field.to_python, listed)):
        exact = plus(exact, rows.filter(**{f"{table.field.name}__in": pks}))
    share = 1.0
    for sample, share in _sample(rows):  # noqa: B007 (the last one counts)
        counted = plus(counted, (user for user in sample if str(user[0]) not in listed))
        if counted[0] >= _SAMPLE:
            break
    return [
        exact_count + round(sampled_count / share)
        for exact_count, sampled_count in zip(exact, counted, strict=True)
    ], True


def _sample(
    rows: QuerySet[Model, tuple[Any, ...]],
) -> Iterator[tuple[Iterable[tuple[Any, ...]], float]]:
    """Yields the users on ranges of pages in random order, and the share that was read with it."""
    pages = _table_pages(rows.model)
    starts = [*range(0, pages + 1, _PAGES)]
    Random(0).shuffle(starts)  # noqa: S311 (a fixed seed: the same numbers at each look)
    for number, start in enumerate(starts, start=1):
        # The table may have grown since its pages were counted.
        end = 2**32 - 1 if start + _PAGES > pages else start + _PAGES
        limits = [f"({start},0)", f"({end},0)"]
        users = rows.extra(where=[_ON_PAGES], params=limits)  # noqa: S610 (a constant)
        yield users, number / len(starts)


def _table_pages(model: type[Model]) -> int:
    """Returns how many pages a table has. Raises FlagstaffError if users are not on such pages."""
    row = None
    # With parents, a user is in two tables.
    if db.is_postgresql and not model._meta.parents:
        with db.connection.cursor() as cursor:
            cursor.execute(_TABLE_PAGES, [db.table(model)])
            row = cursor.fetchone()
    if row is None:
        raise FlagstaffError("there are too many users, and their table has no pages to sample")
    return int(row[0])


@contextmanager
def limited(seconds: float) -> Iterator[float]:
    """Ends a statement that waits or takes too long; an open transaction can go on.

    Yields the time at which the seconds are over. Raises FlagstaffError for all errors of the
    database.
    """
    deadline = monotonic() + seconds
    milliseconds = max(1, int(seconds * 1000))
    try:
        with db.atomic():
            if db.is_postgresql:
                with db.connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {milliseconds}")
            yield deadline
            # Nothing was written, and this takes back the limit.
            transaction.set_rollback(True, using=db.alias)
    except DatabaseError as error:
        raise FlagstaffError(error_text(error)) from error


def _tables_of(query: Any) -> set[str]:
    """Returns the quoted names of the tables that a query joins."""
    tables = (alias.table_name for alias in query.alias_map.values())
    return {*map(db.connection.ops.quote_name, tables)}


def _require_all_rows(*tables: str) -> None:
    """Raises FlagstaffError if row level security can hide rows: the numbers would be wrong."""
    if not db.is_postgresql:
        return
    user_model = user_field(conf.flag_model).model
    places = {**names(db.connection), "user_table": db.table(user_model)}
    wanted = [places[table] for table in _TABLES if table in places]
    for table in find_tables(db.connection, *wanted, *tables).values():
        if table.hides_rows:
            raise FlagstaffError(why_hidden(table))


def _user_columns() -> dict[str, _Column]:
    """Returns the columns of users that rules and units can read, by their names there.

    For an attribute that holds keys of objects, those to which its path leads.
    """
    model = user_field(conf.flag_model).model
    fields = {name: find_field(model, name) for name in _PERMISSIONS}
    permissions = {
        name: field.attname for name, field in fields.items() if field and field.concrete
    }
    columns: dict[str, _Column] = {**counted_objects(), **permissions, **column_attributes()}
    return {name: column for name, column in columns.items() if name != VISITOR}
