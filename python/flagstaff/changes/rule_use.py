"""Which segments and flags the rules of others name. What is in use must exist, and form no circle.

Nobody locks a flag that his rules name: a kill of it waits for no such change. The changes of rules
that name flags, and deletions of flags, come one after the other instead (`needs_alone`).
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias, cast

from django.db import DatabaseError
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.functions import Cast

from flagstaff._tables.database import db, names, read_together
from flagstaff._tables.rows import (
    CONDITIONS,
    RULES,
    Kind,
    Row,
    all_rows,
    declaration,
    hidden_keys,
    model_of,
    similar_key,
)
from flagstaff._text import Sentence, joined, most_similar, say, some
from flagstaff._text.rules import (
    ALL,
    named_buckets,
    named_flags,
    named_segments,
    problem_at,
)
from flagstaff.changes.row_states import RuleUse, expectation, is_preview, rules_of
from flagstaff.exceptions import InvalidChangeError
from flagstaff.extensions import RULES as RULES_OF_APPS
from flagstaff.extensions import OtherRules
from flagstaff.history.log import deleted_pk

#: A segment or a flag that rules name, by its kind and its key.
Name: TypeAlias = tuple[Kind, str]

#: The flags below a row that need each other. Workers take the conditions of a longer one as false.
MAX_CHAIN = 4
# An attribute of a row that no rule names, so that its deletion does not read all rules again.
_CHECKED = "_flagstaff_checked"
# An attribute of what an ORM deletion began with: it reads all rules once.
_USES = "_flagstaff_uses"
# Of 10,000 flags with rules, few name a segment or a flag.
_NAMES_FLAG, _NAMES_SEGMENT = (
    Q(text_of_rules__contains=f'"{word}"') for word in ("flag", "segment")
)
_IN_USE = {
    Kind.SEGMENT: say(
        "the segment {key} is used by the rules of {users}; change these rules first"
    ),
    Kind.FLAG: say("the flag {key} is used by the rules of {users}; change these rules first"),
}
_MISSING = {
    Kind.SEGMENT: say("{place} names the segment {key}, which does not exist; {advice}"),
    Kind.FLAG: say("{place} names the flag {key}, which does not exist; {advice}"),
}
_CIRCLE = say("{path}: a flag cannot depend on itself; change one of these rules")
_CHAIN = say(
    "{path}: at most {count} flags may depend on each other below a rule; let one of them repeat "
    "the conditions of another"
)


class InUseError(InvalidChangeError):
    """a rule names the segment or the flag; nothing was written"""

    def __init__(self, name: Name, users: str) -> None:
        kind, key = name
        super().__init__(say(_IN_USE[kind], key=repr(key), users=users))
        self.name, self.key = name, key


class ChainError(InvalidChangeError):
    """flags depend on each other in a circle, or too many in a row; nothing was written"""

    def __init__(self, text: str, path: Sequence[Name]) -> None:
        super().__init__(say(text, path=joined(map(_label, path), " → "), count=str(MAX_CHAIN)))


def _label(name: Name) -> Sentence:
    kind, key = name
    # A row of an app has no key yet, and a person may not see all flags.
    if not key or key in hidden_keys(kind.model):
        return say("{key}", key="…")
    return say("segment {key}" if kind is Kind.SEGMENT else "{key}", key=key)


def names_in(rules: object) -> Iterator[tuple[Name, Sentence | None]]:
    """Yields the segments and flags that rules name, or conditions in their place, with places."""
    yield from (((Kind.SEGMENT, key), place) for key, place in named_segments(rules))
    yield from (((Kind.FLAG, key), place) for key, place in named_flags(rules))


# What rules name must exist.


def require_names(row: Row, rules: object, key: str) -> None:
    """Raises InvalidChangeError if new rules name what does not exist, or close a circle.

    Also if a percentage is of a bucket by which they select, and for the conditions of a segment.
    `key` is that of the row afterwards. Locks the segments until the transaction ends, so that no
    other one deletes them.
    """
    kind = Kind.of_model(model_of(row))
    if kind is None:
        return
    field = CONDITIONS if kind is Kind.SEGMENT else RULES
    stored = () if row._state.adding else rules_of(row)
    problem, error = _problems((kind, key), rules, stored)
    if problem:
        raise InvalidChangeError("{field}: {problem}", field=field, problem=problem)
    if error:
        raise error


def missing_name(rules: object, stored: object = ()) -> Sentence | None:
    """Returns which rule of an app names what does not exist, or needs too many flags; or None.

    `stored` are the rules that the row has now. Locks as `require_names`.
    """
    # A row of an app is named by none.
    row: Any = (None, "")
    problem, error = _problems(row, rules, stored)
    return error.message if error and not problem else problem


def _problems(
    row: Name, rules: object, stored: object
) -> tuple[Sentence | None, InvalidChangeError | None]:
    """Returns what is wrong with the names in new rules of a row, and with what they need."""
    # The segments are locked before this comes alone, as what changes one locks it.
    existing = existing_names([rules], lock=not is_preview())
    errors = rule_errors({row: rules})
    if any(kind is Kind.FLAG for (kind, _key), _place in names_in(rules)):
        # Again, because a flag may have been deleted meanwhile.
        existing = existing_names([rules])
    # A flag that the person may not see is one that does not exist, unless it is there already.
    hidden = {(Kind.FLAG, key) for key in hidden_keys(Kind.FLAG.model)}
    unseen = hidden.difference(_names_of(stored))
    return missing_among(rules, existing.difference(unseen)), errors.get(row)


def existing_names(written: Iterable[object], *, lock: bool = False) -> set[Name]:
    """Returns the segments and flags that these rules name, as far as they exist.

    With `lock`, the segments stay locked until the transaction ends.
    """
    wanted = {name for rules in written for name, _place in names_in(rules)}
    declared = {name for name in wanted if declaration(name[0].model, name[1]) is not None}
    if (expected := expectation()) is not None:
        return declared | {name for name in wanted if name in expected.rows}
    existing = declared
    for kind in {kind for kind, _key in wanted}:
        rows = all_rows(kind.model)
        # In the order of keys, so that two calls cannot deadlock.
        if lock and kind is Kind.SEGMENT:
            no_key = db.connection.features.has_select_for_no_key_update
            rows = rows.select_for_update(no_key=no_key).order_by("key")
        keys = [key for of_kind, key in wanted if of_kind is kind]
        existing |= {(kind, key) for key in rows.filter(key__in=keys).values_list("key", flat=True)}
    return existing


def missing_among(rules: object, existing: Collection[Name]) -> Sentence | None:
    """Returns the same for the segments and flags that exist."""
    for name, place in dict(reversed([*names_in(rules)])).items():
        if name not in existing:
            return say(
                _MISSING[name[0]],
                place=place or say("a condition"),
                key=repr(name[1]),
                advice=_advice(*name),
            )
    return None


def _advice(kind: Kind, key: str) -> Sentence:
    verb = "flags segment" if kind is Kind.SEGMENT else "flags"
    if key not in hidden_keys(kind.model) and deleted_pk(kind, key) is not None:
        command = f"manage.py {verb} undo {shlex.quote(key)}"
        return say('undo its deletion first with "{command}"', command=command)
    return similar_key(kind.model, key) or say(
        'create it first with "{command}"', command=f"manage.py {verb} create"
    )


# Circles and chains.


def needs_alone() -> None:
    """Waits until no other transaction changes which flags need each other, or deletes a flag.

    To be called after the rows are locked, and before what they need is read. A kill does neither.
    """
    # SQLite has one writer anyway.
    if db.is_postgresql and not is_preview():
        db.lock(f"flagstaff needs {names(db.connection)['token_table']}")


def rule_errors(after: Mapping[Name, object]) -> dict[Name, InvalidChangeError]:
    """Returns why rows must not get these rules, or conditions, by the kind and the key of a row.

    `after` has all rows that change in this transaction; None for one that is deleted. Reads the
    rules of others if the new ones need a flag, and then comes alone (`needs_alone`).
    """
    changed = {name: _names_of(rules) for name, rules in after.items()}
    named = {name for names_of_row in changed.values() for name in names_of_row}
    conditions = _conditions_of(named)
    errors = bucket_errors(after, conditions)
    of_segments = any(True for of_segment in conditions.values() for _ in named_flags(of_segment))
    if of_segments or any(kind is Kind.FLAG for kind, _key in named):
        errors |= _chain_errors(changed)
    return errors


def _chain_errors(changed: Mapping[Name, list[Name]]) -> dict[Name, InvalidChangeError]:
    """Returns the circles and the chains that rows form which name this."""
    needs_alone()
    stored: dict[Any, list[Name]] = {
        (use.kind, use.key): _names_of(use.rules) for use in _all_uses()
    }
    needs = {**stored, **changed}
    needed_by: dict[Any, list[Any]] = defaultdict(list)
    for name, named in needs.items():
        for needed in named:
            needed_by[needed].append(name)
    errors = dict[Name, InvalidChangeError]()
    for name in changed:
        if circle := _circle(needs, name):
            errors[name] = ChainError(_CIRCLE, circle)
            continue
        path = [*reversed(_longest(needed_by, name, {})), *_longest(needs, name, {})[1:]]
        if sum(kind is Kind.FLAG for kind, _key in path[1:]) > MAX_CHAIN:
            errors[name] = ChainError(_CHAIN, path)
    return errors


def _names_of(rules: object) -> list[Name]:
    return [*dict(names_in(rules))]


def _conditions_of(named: Collection[Name]) -> dict[str, object]:
    """Returns the conditions of the segments with these names. A query, unless they are known."""
    keys, expected = [key for kind, key in named if kind is Kind.SEGMENT], expectation()
    if expected is None:
        segments = [*all_rows(Kind.SEGMENT.model).filter(key__in=keys)] if keys else []
    else:
        states = (expected.rows.get((Kind.SEGMENT, key)) for key in keys)
        segments = [state.row for state in states if state is not None and state.row]
    return {segment.key: rules_of(segment) for segment in segments}


def _all_uses() -> Iterator[RuleUse]:
    """Yields the rows whose rules name something; then rows as they are expected to be."""
    expected = expectation()
    # One that names several things is among the uses of each.
    yield from dict.fromkeys(chain.from_iterable(uses_by_name().values()))
    for (kind, _key), state in () if expected is None else expected.rows.items():
        yield RuleUse(kind, state.row)


def _circle(needs: Mapping[Any, Sequence[Any]], name: Name) -> list[Name]:
    """Returns the shortest path from a row to itself; empty without one."""
    paths: dict[Any, list[Any]] = {name: [name]}
    waiting = [name]
    for at in waiting:
        for needed in needs.get(at, ()):
            if needed == name:
                return [*paths[at], name]
            if needed not in paths:
                paths[needed] = [*paths[at], needed]
                waiting.append(needed)
    return []


def _longest(
    graph: Mapping[Any, Sequence[Any]], name: Name, known: dict[Any, list[Any]]
) -> list[Any]:
    """Returns the path from a row with the most flags. Of a circle that SQL has written, a part."""
    if name not in known:
        known[name] = [name]
        paths = [_longest(graph, at, known) for at in graph.get(name, ())]
        longest = max(paths, key=lambda path: sum(at[0] is Kind.FLAG for at in path), default=[])
        known[name] = [name, *longest]
    return known[name]


def read_named(wanted: Iterable[Name], own: Collection[Any] = ()) -> dict[Name, Any]:
    """Returns the rows of segments and flags, and of those that their rules name, and so on.

    Those of `own` are left out. A query for each kind and step of a chain.
    """
    rows, seen = dict[Name, Any](), {*own}
    remaining = {*wanted} - seen
    while remaining:
        seen |= remaining
        for kind in {kind for kind, _key in remaining}:
            keys = [key for of_kind, key in remaining if of_kind is kind]
            rows |= {(kind, row.key): row for row in all_rows(kind.model).filter(key__in=keys)}
        read = [rows[name] for name in remaining if name in rows]
        remaining = {name for row in read for name in _names_of(rules_of(row))} - seen
    return rows


# What uses a segment or a flag.


def keep_used(row: Model, using: str, origin: object = None) -> None:
    """Raises InvalidChangeError before the ORM deletes a segment or a flag that a rule names.

    Of the rows that one query set deletes together, each may name the others.
    """
    kind = Kind.of_model(type(row))
    if using != db.alias or kind is None or _CHECKED in vars(row):
        return
    holder: Any = origin if isinstance(origin, QuerySet) else row
    if _USES not in vars(holder):
        # Locked, so that a concurrent change of rules, which locks it too, is seen.
        locked = all_rows(kind.model).select_for_update().filter(pk=row.pk)
        needs_alone() if kind is Kind.FLAG else [*locked]
        vars(holder)[_USES] = uses_by_name()
    uses = vars(holder)[_USES][kind, row.key]  # type: ignore[attr-defined]
    if isinstance(origin, QuerySet) and uses:
        leaving = {*origin.values_list("pk", flat=True)}
        uses = [use for use in uses if not (use.kind is kind and use.row.pk in leaving)]
    require_unused((kind, row.key), uses)  # type: ignore[attr-defined]


def delete_unused(row: Row) -> None:
    """Deletes a locked row that no rule names: the caller has read the rules."""
    vars(row)[_CHECKED] = True
    row.delete(using=db.alias)


def require_unused(name: Name, uses: Collection[RuleUse]) -> None:
    """Raises InUseError, which names what uses a segment or a flag, if there is anything.

    To be called before it is deleted.
    """
    others = [use for use in uses if (use.kind, use.key) != name]
    if others:
        raise InUseError(name, some(use.label(repr(use.key)) for use in others))


def keys_that_name(kind: Kind, key: str) -> dict[str, list[str]]:
    """Returns the keys of the flags, values, experiments and segments whose rules name it.

    Only flags are named by segments. Reads all rules.
    """
    nouns = {Kind.FLAG: "flags", Kind.VALUE: "values", None: "experiments"}
    nouns |= {Kind.SEGMENT: "segments"} if kind is Kind.FLAG else {}
    keys: dict[str, list[str]] = {noun: [] for noun in nouns.values()}
    for use in uses_by_name(of_segments=kind is Kind.SEGMENT)[kind, key]:
        keys[nouns[use.kind]].append(use.key)
    return keys


def uses_by_name(*, of_segments: bool = True) -> defaultdict[Any, list[RuleUse]]:
    """Returns what uses each segment and flag: flags, values, segments, then rows of apps.

    Reads all rules: whatever JSON SQL has written. Without `of_segments`, it leaves out rules that
    name no flag, also through a segment. A preview of what is expected reads them once.
    """
    expected = expectation()
    if expected is None:
        return grouped_uses(_read_uses(of_segments=of_segments))
    if expected.uses is None:
        expected.uses = grouped_uses(_read_uses(of_segments=True))
    return expected.uses


def grouped_uses(uses: Iterable[RuleUse]) -> defaultdict[Any, list[RuleUse]]:
    """Returns what uses each segment and flag, in the order of the uses."""
    by_name = defaultdict[Any, list[RuleUse]](list)
    for use in uses:
        for name in _names_of(use.rules):
            by_name[name].append(use)
    return by_name


def _read_uses(*, of_segments: bool) -> Iterator[RuleUse]:
    yield from _stored_uses(of_segments=of_segments)
    yield from (RuleUse(None, rules) for rules in rules_of_apps())


def _stored_uses(*, of_segments: bool) -> list[RuleUse]:
    """Returns the rows whose rules may name a flag or, if it matters, a segment."""
    kinds = _kinds_that_name()
    segments = [*rows_that_name(Kind.SEGMENT)] if Kind.SEGMENT in kinds else []
    wanted = _NAMES_FLAG | _NAMES_SEGMENT if of_segments or segments else _NAMES_FLAG
    uses = [
        RuleUse(kind, row)
        for kind in (Kind.FLAG, Kind.VALUE)
        if kind in kinds
        for row in _with_text(kind, RULES).filter(wanted)
    ]
    return [*uses, *(RuleUse(Kind.SEGMENT, row) for row in segments)]


def _kinds_that_name() -> set[Kind]:
    """Returns the kinds of which a row may name a segment or a flag. One query instead of three."""
    kinds = {Kind.FLAG: RULES, Kind.VALUE: RULES, Kind.SEGMENT: CONDITIONS}
    if not db.is_postgresql:
        return {*kinds}
    names_of_tables = dict[str, str]()
    for kind, field in kinds.items():
        column = str(kind.model._meta.get_field(field).column)  # type: ignore[union-attr]
        names_of_tables |= {
            f"{kind.value}_table": db.table(kind.model),
            f"{kind.value}_{field}": db.connection.ops.quote_name(column),
        }
    [are_named] = db.query("rules_with_names_v1", more_names=names_of_tables)
    return {kind for kind, is_named in zip(kinds, are_named, strict=True) if is_named}


def rows_that_name(kind: Kind, keys: Collection[str] = ()) -> QuerySet[Any]:
    """Returns the rows whose rules may name a segment or a flag, and those of these keys."""
    is_segment = kind is Kind.SEGMENT
    wanted = _NAMES_FLAG if is_segment else _NAMES_FLAG | _NAMES_SEGMENT
    rows = _with_text(kind, CONDITIONS if is_segment else RULES)
    return rows.filter(wanted | Q(key__in=keys))


def _with_text(kind: Kind, field: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = all_rows(kind.model).alias(text_of_rules=Cast(field, TextField()))
    return rows.order_by("key")


def rules_of_apps() -> Iterator[OtherRules]:
    """Yields the rules of the optional apps; none of one before its migration. Queries."""
    read = list[OtherRules]()
    for reading in RULES_OF_APPS:
        with suppress(DatabaseError), db.atomic():
            read += read_together(reading())[0]
    yield from (rules for rules in read if not rules.is_over)


def uses_of(changed: Collection[Name]) -> list[RuleUse]:
    """Returns what uses these segments and flags, also through others, as long as it is on.

    Flags, values, then experiments. Reads all rules.
    """
    by_name = uses_by_name(of_segments=any(kind is Kind.SEGMENT for kind, _key in changed))
    uses, waiting = dict[RuleUse, None](), [*changed]
    for name in waiting:
        for use in by_name[name]:
            uses[use] = None
            passes_on = use.is_active and use.kind in {Kind.FLAG, Kind.SEGMENT}
            if passes_on and (use.kind, use.key) not in waiting:
                waiting.append((cast("Kind", use.kind), use.key))
    kinds = (Kind.FLAG, Kind.VALUE, None)
    counted = (use for use in uses if use.kind in kinds)
    return sorted(counted, key=lambda use: (kinds.index(use.kind), use.key))


# Buckets.


def bucket_errors(
    after: Mapping[Name, object], stored: Mapping[str, object]
) -> dict[Name, InvalidChangeError]:
    """Returns why rows must not get rules, or conditions: by the bucket of a percentage of theirs.

    `stored` has the conditions of the segments that rules name. Queries the flags and values whose
    keys new conditions have as buckets.
    """
    segments = dict(stored)
    segments |= {key: rules for (kind, key), rules in after.items() if kind is Kind.SEGMENT}
    errors = dict[Name, InvalidChangeError]()
    for (kind, key), rules in after.items():
        if kind is Kind.SEGMENT:
            field, problem = CONDITIONS, _bucket_of_users(key, rules, after)
        else:
            field, problem = RULES, own_bucket_problem(key, rules, segments)
        if problem:
            text = say("{field}: {problem}", field=field, problem=problem)
            errors[kind, key] = InvalidChangeError(text)
    return errors


def _bucket_of_users(segment: str, conditions: object, after: Collection[Name]) -> Sentence | None:
    """Returns which other rows have percentages of a bucket of a segment that they name."""
    buckets = {name for name, _place, _percent in named_buckets(conditions)}
    names = [
        (kind, row.key)
        for kind in (Kind.FLAG, Kind.VALUE) * bool(buckets)
        for row in all_rows(kind.model).filter(key__in=buckets).order_by("key")
        if (kind, row.key) not in after
        and own_bucket_problem(row.key, rules_of(row), {segment: conditions})
    ]
    text = say(
        "the rules of {rows} name this segment with a percentage of the same bucket, so they would "
        "select all of these users or none; use another name for the bucket"
    )
    return say(text, rows=some(map(_label, names))) if names else None


def own_bucket_problem(key: str, rules: object, segments: Mapping[str, object]) -> Sentence | None:
    """Returns which rule of a flag or a value selects by the bucket of its own percentage, or None.

    Of those whom such a condition lets through, a percentage selects all or nobody. `segments` has
    conditions by key.
    """
    for name, place, percent in named_buckets(rules, segments):
        if name == key and place is not None and 0 < percent < ALL:
            problem = say(
                "the bucket {name} is also that of the {percent} % of this rule, so it would "
                "select all of these users or none; use another name for the bucket",
                name=json.dumps(name, ensure_ascii=False),
                percent=str(percent),
            )
            return problem_at(place, problem)
    return None


def bucket_names(but: Any = None) -> list[str]:
    """Returns the names of the buckets in rules, in order; not those of rows that are not shown."""
    read: set[str] = set()
    for kind, field in ((Kind.FLAG, RULES), (Kind.VALUE, RULES), (Kind.SEGMENT, CONDITIONS)):
        hidden = hidden_keys(kind.model)
        rows = _with_text(kind, field).filter(text_of_rules__contains='"bucket"')
        for key, rules in rows.values_list("key", field):
            is_own = type(but) is kind.model and getattr(but, "key", None) == key
            if key not in hidden and not is_own:
                read.update(name for name, _place, _percent in named_buckets(rules))
    return sorted(read)


# What a person should know of new rules.


def notes_of(row: Any) -> Iterator[Sentence]:
    """Yields what a person should know of what the rules of a row name, who has just written them.

    Queries the flags that they name.
    """
    rules, hidden = rules_of(row), hidden_keys(Kind.FLAG.model)
    buckets = {name for name, _place, _percent in named_buckets(rules)} - {row.key, *hidden}
    flags = all_rows(Kind.FLAG.model).filter(key__in=buckets) if buckets else ()
    for flag in flags:
        yield say(
            "the bucket {name} is that of the flag {name}: both select the same users; use another "
            "name for others",
            name=repr(flag.key),
        )
    if buckets:
        in_use = bucket_names(but=row)
        for name in sorted(buckets - {*in_use}):
            if similar := most_similar(name, in_use):
                yield say(
                    "no other rule uses the bucket {name}; did you mean {similar}?",
                    name=repr(name),
                    similar=repr(similar),
                )
    if not getattr(row, "client_side", False):
        return
    needed = read_named(_names_of(rules))
    # Segments are not public or secret by themselves.
    others = [key for (_kind, key), of in needed.items() if not getattr(of, "client_side", True)]
    if shown := some(repr(key) for key in others if key not in hidden):
        yield say(
            "browsers read {key}, so each of them learns whether {flags} is on for its user, "
            "although that is not client side",
            key=repr(row.key),
            flags=shown,
        )
