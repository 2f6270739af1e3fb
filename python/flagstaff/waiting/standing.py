"""What an action that waits stands on: the rows that decide, and who has changed them since.

All that says whether actions will run is read at once: six queries, however many actions wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_
from typing import Any, TypeAlias

from django.db.models import BigIntegerField, Func, Q, QuerySet
from django.db.models.functions import Cast, Now

from flagstaff._tables.database import Reading, db, read_together
from flagstaff._tables.rows import CONDITIONS, RULES, Kind, all_rows, declared_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text.rules import ALL
from flagstaff.actions.table import Present
from flagstaff.changes import Changed
from flagstaff.changes.fields import ALLOWED, read_allowed_pks
from flagstaff.changes.locking import DECIDING, Footprint
from flagstaff.changes.row_states import ExpectedRows, RowState, RuleUse
from flagstaff.changes.rule_use import grouped_uses, names_in, rows_that_name
from flagstaff.extensions import RULES as RULES_OF_APPS
from flagstaff.extensions import OtherRules
from flagstaff.history.log import Change, Event, events, require_triggers, versions_of
from flagstaff.models import WaitingAction
from flagstaff.validators import rule_problem
from flagstaff.waiting.rights import is_reverse, users_with_rights

#: The action that creates a row, of all kinds, and the argument with the users of a flag.
CREATE, USERS = "create", "users"

#: The kind and the primary key of a row with a history.
RowId: TypeAlias = "tuple[Kind, str]"

# The sources of what waits, and of a plan, which write by themselves: no person has decided.
_SOURCE, _PLAN = f"{WaitingAction.SOURCE} ", "plan"


def stored_footprint(footprint: Footprint) -> list[dict[str, Any]]:
    """Returns a footprint as JSON: each row with its primary key, its version and its digests.

    Raises NoHistoryError if changes of such rows would leave no entry. Queries.
    """
    fields: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for (noun, key, name), digest in footprint.items():
        fields[noun, key][name] = digest
    row_versions: dict[tuple[str, str], tuple[str, int]] = {}
    for kind in Kind:
        if not (keys := [key for noun, key in fields if noun == kind.value]):
            continue
        require_triggers(kind)
        rows = all_rows(kind.model).filter(key__in=keys).values_list("key", "pk")
        pks = {key: str(pk) for key, pk in rows}
        versions = versions_of(kind, pks.values())
        row_versions |= {(kind.value, key): (pk, versions.get(pk, 0)) for key, pk in pks.items()}
    return [
        {"kind": noun, "key": key, "pk": pk, "version": version, "fields": digests}
        for (noun, key), digests in fields.items()
        for pk, version in [row_versions.get((noun, key), ("", 0))]
    ]


def footprint_of_stored(stands_on: Iterable[Mapping[str, Any]]) -> Footprint:
    """Returns the footprint that was stored."""
    return {
        (row["kind"], row["key"], name): digest
        for row in stands_on
        for name, digest in row["fields"].items()
    }


def entries_since(actions: Collection[WaitingAction]) -> list[Change]:
    """Returns the entries since actions were asked for, the newest first. A query.

    They are those of the rows that the actions stand on, and those of the keys of creations.
    """
    rows = [row for action in actions for row in action.stands_on if row["pk"]]
    oldest = min((row["version"] for row in rows), default=0)
    conditions = list[Q]()
    for kind in Kind:
        pks = {row["pk"] for row in rows if row["kind"] == kind.value}
        of_rows = Q(relation__in=kind.relations, object_pk__in=pks, id__gt=oldest)
        conditions += [of_rows] if pks else []
    creations = [action for action in actions if action.action == CREATE]
    if creations:
        relations = {Kind(action.kind).row_relation for action in creations}
        keys = {key for action in creations for key in action.keys}
        since = min(action.asked_at for action in creations)
        conditions.append(Q(relation__in=relations, key__in=keys, at__gt=since))
    if not conditions:
        return []
    return [*Change.objects.filter(reduce(or_, conditions)).short().newest(few=True)]


def events_by_row(entries: Iterable[Change]) -> dict[RowId, list[Event]]:
    """Returns the changes of each row, the oldest first. Does not query.

    `Event.version` says which are newer than an action.
    """
    by_row: dict[RowId, list[Event]] = defaultdict(list)
    for event in events(entries):
        by_row[Kind(event.kind), event.object_pk].insert(0, event)
    return by_row


def is_own(action: WaitingAction, row: Mapping[str, Any]) -> bool:
    """Whether a row that an action stands on is one that it changes."""
    return row["kind"] == action.row_kind and row["key"] in action.keys


def source_of(number: int) -> str:
    """Returns the source of what the action with this number writes."""
    return f"{_SOURCE}{number}"


def touched(event: Event, row: Mapping[str, Any]) -> list[str]:
    """Returns the fields that decide and that a change has set; all of a new or deleted row."""
    names = {*row["fields"], "key"}
    changed = [difference.field for difference in event.differences]
    changed += [ALLOWED] if event.added.count or event.removed.count else []
    return changed if event.action != "change" else [name for name in changed if name in names]


def first_change(waiting: WaitingAction, row: Mapping[str, Any], since: Sequence[Event]) -> Any:
    """Returns the first change that ends an action; None without one.

    Of what takes away, it is one that a person has made after the time of the action.
    """
    allowed = {*map(source_of, waiting.rests_on)}
    for event in since:
        if event.version <= row["version"] or not touched(event, row):
            continue
        if waiting.takes_away:
            source = event.source or ""
            is_by_person = source != _PLAN and not source.startswith(_SOURCE)
            if waiting.run_at is not None and event.at > waiting.run_at and is_by_person:
                return event
        elif event.source not in allowed:
            return event
    return None


def was_written(creation: WaitingAction, entries: Iterable[Change]) -> bool:
    """Whether a row with the key of a creation has been there since it was asked for."""
    allowed = {*map(source_of, creation.rests_on)}
    return any(
        entry.relation == Kind(creation.kind).row_relation
        and entry.key in creation.keys
        and entry.at > creation.asked_at
        and entry.source not in allowed
        for entry in entries
    )


# What takes away.


def own_rows(rows: Iterable[Any]) -> Footprint:
    """Returns the footprint of what takes away: no row has to be as it was."""
    return {
        (kind.value, row.key, name): ""
        for row in rows
        if (kind := Kind.of_model(type(row))) is not None
        for name in (*DECIDING[kind], ALLOWED)
    }


def only_takes(change: Changed) -> bool:
    """Whether nobody can gain by a change of a flag: less of the same, and nothing else."""
    old, new = change.old or {}, change.new or {}
    if not change.written:
        return True
    states = [state.row for state in (change.before, change.after) if state and state.row]
    if change.kind is not Kind.FLAG or change.action != "change" or any(map(is_reverse, states)):
        return False
    lowers: Mapping[str, Callable[[Any, Any], bool]] = {
        "enabled": lambda _before, after: after is False,
        "rollout_percent": lambda before, after: after <= before,
        RULES: _are_lower,
        ALLOWED: lambda _removed, added: not added,
    }
    return all(name in lowers and lowers[name](old[name], new[name]) for name in new)


def _are_lower(old: Any, new: Any) -> bool:
    """Whether rules differ in their percentages only, and none is higher."""
    if rule_problem(old) is not None or len(old) != len(new):
        return False
    pairs = [({**before}, {**after}) for before, after in zip(old, new, strict=True)]
    return all(
        after.pop("rollout_percent", ALL) <= before.pop("rollout_percent", ALL) and before == after
        for before, after in pairs
    )


#: The kind of a row, and its key.
RowPlace: TypeAlias = tuple[str, str]

# A flag and a value have no key in common.
_BESIDE = {Kind.FLAG.value: Kind.VALUE, Kind.VALUE.value: Kind.FLAG}


def read_waiting() -> list[Any]:
    """Returns the actions that wait, and those that were to run before them. One query.

    `now` is the time of the database.
    """
    rows = WaitingAction.objects.using(db.alias)
    each = Func("rests_on", function="pg_catalog.jsonb_array_elements_text")
    waiting = rows.filter(state__in=WaitingAction.OPEN).annotate(
        before=Cast(each, BigIntegerField())
    )
    before = waiting.order_by().values("before")
    wanted = Q(state__in=WaitingAction.OPEN) | Q(pk__in=before)
    return [*rows.filter(wanted).annotate(now=Now())]


@dataclass(frozen=True)
class Situation:
    """What decides about actions that wait, as it is now."""

    #: The flags, values and segments that the actions change or stand on, and what uses them.
    expected: ExpectedRows
    #: The rows of apps, by the kind of the actions and the key.
    of_apps: Mapping[str, Mapping[str, Present]]
    #: What has the keys of creations already, by the kind and the key of the new row.
    owners: Mapping[RowPlace, str]
    #: What has happened since the actions were asked for, the newest first, and by row.
    entries: Sequence[Change]
    events: Mapping[RowId, Sequence[Event]]
    #: Who asked and approved, with their rights, and who changed a row, by the primary key.
    users: Mapping[str, Any]


def read_situation(
    waiting: Sequence[WaitingAction], more: Iterable[RowPlace], of_apps: Mapping[str, Reading]
) -> Situation:
    """Reads what decides about actions, `more` rows, and those of apps. Five queries."""
    keys = _keys(waiting, more)
    flags = [*rows_that_name(Kind.FLAG, keys[Kind.FLAG.value])]
    values = [*rows_that_name(Kind.VALUE, keys[Kind.VALUE.value])]
    # A deletion, and a change of the list, take the allowed users as they are.
    of_list = [row for row in waiting if row.action == "delete" or USERS in row.arguments]
    listed = {key for action in of_list for key in action.keys}
    users = chain.from_iterable(action.arguments.get(USERS, ()) for action in of_list)
    segments, allowed, existing, *others = read_together(
        _read_all(rows_that_name(Kind.SEGMENT, keys[Kind.SEGMENT.value])),
        read_allowed_pks([flag for flag in flags if flag.key in listed]),
        allowed_user_table().read_existing(users),
        *of_apps.values(),
        *(reading() for reading in RULES_OF_APPS),
    )
    states = [
        *(RowState(Kind.FLAG, flag, allowed.get(flag.pk)) for flag in flags),
        *(RowState(Kind.VALUE, value) for value in values),
        *(RowState(Kind.SEGMENT, segment) for segment in segments),
    ]
    rules: list[OtherRules] = [*chain.from_iterable(others[len(of_apps) :])]
    uses = [RuleUse(state.kind, state.row) for state in states]
    uses += [RuleUse(None, row) for row in rules if not row.is_over]
    rows = {(state.kind, state.row.key): state for state in states}
    # What code declares need not have a row.
    for kind in Kind:
        for key in keys[kind.value]:
            if (kind, key) not in rows and (row := declared_row(kind.model, key)):
                rows[kind, key] = RowState(kind, row)
    owners = {(kind, row.key): str(row.model._meta.model_name) for kind in _BESIDE for row in rules}
    owners |= {
        (kind, key): at.value for kind, at in _BESIDE.items() for of, key in rows if of is at
    }
    entries = entries_since(waiting)
    people = {pk for action in waiting for pk in (action.asked_by, action.approved_by)}
    return Situation(
        ExpectedRows(rows, existing, grouped_uses(uses)),
        dict(zip(of_apps, others, strict=False)),
        owners,
        entries,
        events_by_row(entries),
        users_with_rights(people, {entry.actor or "" for entry in entries}),
    )


def _keys(waiting: Iterable[WaitingAction], more: Iterable[RowPlace]) -> dict[str, set[str]]:
    """Returns the keys of the rows to read, by their kind."""
    keys: dict[str, set[str]] = defaultdict(set)
    places = (places_of(action) | named_in(action.arguments) for action in waiting)
    for kind, key in chain(more, *places):
        keys[kind].add(key)
    for action in waiting:
        if action.action == CREATE and (beside := _BESIDE.get(action.kind)):
            keys[beside.value].update(action.keys)
    return keys


def _read_all(rows: QuerySet[Any]) -> Reading:
    return (yield rows)


def connected(actions: Iterable[WaitingAction], places: Collection[RowPlace]) -> list[Any]:
    """Returns the actions of these rows, and of the rows of those, and so on."""
    reached, others, number = list[WaitingAction](), [*actions], -1
    places = {*places}
    while len(reached) > number:
        number, rest = len(reached), list[WaitingAction]()
        for action in others:
            (reached if places & places_of(action) else rest).append(action)
        places, others = {place for action in reached for place in places_of(action)}, rest
    return reached


def places_of(action: WaitingAction) -> set[RowPlace]:
    """Returns the rows that an action changes or stands on."""
    own = {(action.row_kind, key) for key in action.keys}
    return own | {(row["kind"], row["key"]) for row in action.stands_on}


def named_in(arguments: Mapping[str, Any]) -> set[RowPlace]:
    """Returns the segments and flags that the arguments of an action name in rules."""
    written = (arguments.get(name, []) for name in (RULES, CONDITIONS))
    return {(kind.value, key) for rules in written for (kind, key), _place in names_in(rules)}
