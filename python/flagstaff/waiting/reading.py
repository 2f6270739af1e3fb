"""All that says whether actions will run, read at once: six queries, however many actions wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from django.db.models import BigIntegerField, Func, Q, QuerySet
from django.db.models.functions import Cast, Now

from flagstaff._tables.database import Reading, db, read_together
from flagstaff._tables.model_fields import CONDITIONS, RULES
from flagstaff._tables.rows import declared_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.actions.table import Present
from flagstaff.changes.fields import read_allowed_pks
from flagstaff.changes.row_states import ExpectedRows, RowState, RuleUse
from flagstaff.changes.rule_use import grouped_uses, names_in, rows_that_name
from flagstaff.extensions import RULES as RULES_OF_APPS
from flagstaff.extensions import OtherRules
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event
from flagstaff.models import WaitingAction
from flagstaff.waiting.rights import users_with_rights
from flagstaff.waiting.standing import CREATE, USERS, RowId, entries_since, events_by_row

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
