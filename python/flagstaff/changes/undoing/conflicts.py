"""What is in the way of an undo: who changed what after it, and what to do then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Max, Q

from flagstaff._tables.model_fields import stored_fields
from flagstaff._words.text import Text, joined, marked
from flagstaff._words.times import full_time
from flagstaff.changes.changed import DELETE_VERBS, KIND_OPTIONS, quoted_command
from flagstaff.changes.locking import event_text
from flagstaff.changes.past import Item, Past, RowId
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.describe import Names, describe_actor, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Event
from flagstaff.history.reading import EntryRange, read_events
from flagstaff.history.user_names import readable_names_of_actors
from flagstaff.models import Change

_RUN_AGAIN = marked("run the command again")
_KEY_TAKEN = {
    Kind.FLAG: marked("{key} was deleted, and another flag has the same key now"),
    Kind.VALUE: marked("{key} was deleted, and another value has the same key now"),
    Kind.SEGMENT: marked("{key} was deleted, and another segment has the same key now"),
}
_FREE_KEY = {
    Kind.FLAG: marked("rename or delete the other flag first"),
    Kind.VALUE: marked("rename or delete the other value first"),
    Kind.SEGMENT: marked("delete the other segment first"),
}

# The length of each value in a message, which the admin may keep in a cookie.
_MAX_VALUE = 120
_MAX_NEWER = 20


@dataclass(frozen=True)
class Conflict:
    """Why events of a row cannot be undone."""

    past: Past
    events: EntryRange
    #: The columns that were changed again; None if any newer change is in the way.
    columns: frozenset[str] | None = None
    #: The versions of the row that are to be undone, which are no obstacle themselves.
    selected: frozenset[int] = frozenset()
    #: Whether another transaction wrote between the entries.
    is_interleaved: bool = False
    #: Whether the events created the row, so that there is no earlier version.
    is_creation: bool = False


@dataclass(frozen=True)
class Obstacle:
    """Why events cannot be undone, and the version that can be restored instead, if any."""

    error: FlagstaffError
    restore_to: int | None = None


def describe_conflicts(conflicts: Sequence[Conflict]) -> list[Obstacle]:
    """Returns the errors, in the same order. The number of queries depends on the newer changes."""
    if not conflicts:
        return []
    newer = _events_in_the_way(conflicts)
    authors = _authors(conflicts)
    names = readable_names_of_actors([*newer.values(), *authors.values()])
    versions = _versions_before(conflicts)
    return [
        _obstacle(
            conflict,
            newer.get(_place(conflict)),
            authors.get(conflict.events.first),
            names,
            versions,
        )
        for conflict in conflicts
    ]


def key_conflict(kind: Kind, key: str, version: int) -> ConflictError:
    """Returns the error that another row has the key of a deleted one, which has this version."""
    return _error(Text(_KEY_TAKEN[kind], key=key), Text(_FREE_KEY[kind]), key, version)


def changed_meanwhile(item: Item, seen: int, actual: int) -> ConflictError:
    """Returns the error that a row has another version than the undo that was shown."""
    newer = Change.objects.filter(relation__in=item.kind.relations, object_pk=item.pk, id__gt=seen)
    events = [*read_events(item.kind, newer, limit=_MAX_NEWER, shorten=True)]
    names = readable_names_of_actors(events)
    changes = [event_text(event, names) for event in events]
    problem = Text(
        "{key} was changed since the undo was shown: {changes}",
        key=item.key,
        changes=joined(changes, "; "),
    )
    return ConflictError(
        problem, key=item.key, expected=seen, actual=actual, newer=events, advice=Text(_RUN_AGAIN)
    )


def others_changed_meanwhile(item: Item, version: int) -> ConflictError:
    """Returns the error that an undo of rows that have not changed would do something else."""
    return _error(
        Text(
            "the undo would do something else than was shown, because other keys were changed since"
        ),
        Text(_RUN_AGAIN),
        item.key,
        version,
        version,
    )


def _obstacle(
    conflict: Conflict,
    newer: Event | None,
    author: Change | None,
    names: Names,
    versions: Mapping[tuple[RowId, int], int],
) -> Obstacle:
    item = conflict.past.item
    if conflict.is_interleaved:
        problem = Text(
            "another transaction changed {key} at the same time, and the undo would also undo "
            "that transaction",
            key=item.key,
        )
    elif newer is None:
        problem = Text("{key} was changed again since then", key=item.key)
    else:
        problem = Text(
            "{actor} changed {key} again at {time}: {change}",
            actor=_actor(newer, names),
            key=item.key,
            time=full_time(newer.at),
            change=describe_change(newer, limit=_MAX_VALUE),
        )
    version = versions.get(_place(conflict))
    if conflict.is_creation:
        command = quoted_command(*DELETE_VERBS[item.kind], item.key)
        advice = Text("to delete it nevertheless, run: {command}", command=command)
    elif version is None or author is None:
        advice = Text("change it by hand")
    else:
        command = quoted_command("restore", item.key, str(version), *KIND_OPTIONS[item.kind])
        advice = Text(
            "to restore the state before the change of {actor}, run: {command}",
            actor=_actor(author, names),
            command=command,
        )
    events = [] if newer is None else [newer]
    expected = conflict.events.last
    error = _error(problem, advice, item.key, conflict.past.version, expected, events)
    return Obstacle(error, None if conflict.is_creation else version)


def _error(  # noqa: PLR0913, PLR0917 (what happened, what to do, and to which row)
    problem: Text,
    advice: Text,
    key: str,
    version: int,
    expected: int | None = None,
    newer: Sequence[Event] = (),
) -> ConflictError:
    return ConflictError(
        problem,
        key=key,
        expected=expected,
        actual=version,
        newer=newer,
        advice=advice,
    )


def _actor(event: Event | Change, names: Names) -> str:
    # An actor is any text, also one of several lines.
    return " ".join(describe_actor(event, names).split())


def _place(conflict: Conflict) -> tuple[RowId, int]:
    return conflict.past.item.id, conflict.events.first


def _events_in_the_way(conflicts: Iterable[Conflict]) -> dict[tuple[RowId, int], Event]:
    """The newest event that changed the same again, of each conflict."""
    by_place: dict[tuple[RowId, int], Event] = {}
    for kind in Kind:
        waiting = [
            conflict
            for conflict in conflicts
            if conflict.past.item.kind is kind and not conflict.is_interleaved
        ]
        for event in _newer_events(kind, waiting):
            for conflict in waiting:
                if _is_in_the_way(conflict, event):
                    by_place[_place(conflict)] = event
            waiting = [conflict for conflict in waiting if _place(conflict) not in by_place]
            if not waiting:
                break
    return by_place


def _newer_events(kind: Kind, conflicts: Collection[Conflict]) -> Iterator[Event]:
    if not conflicts:
        return
    newer = Change.objects.filter(
        relation__in=kind.relations,
        object_pk__in=[conflict.past.item.pk for conflict in conflicts],
        id__gt=min(conflict.events.last for conflict in conflicts),
    )
    yield from read_events(kind, newer, shorten=True)


def _is_in_the_way(conflict: Conflict, event: Event) -> bool:
    is_newer = event.object_pk == conflict.past.item.pk and event.version > conflict.events.last
    if not is_newer or event.version in conflict.selected:
        return False
    if conflict.columns is None:
        return True
    columns = {
        field.name: str(field.column) for field in stored_fields(conflict.past.item.kind.model)
    }
    changed = {columns.get(difference.field, difference.field) for difference in event.differences}
    return not changed.isdisjoint(conflict.columns)


def _authors(conflicts: Iterable[Conflict]) -> dict[int, Change]:
    """The oldest entry of each conflict, for its actor."""
    ids = {conflict.events.first for conflict in conflicts}
    entries = Change.objects.filter(id__in=ids).only("id", "actor", "session_user")
    return {entry.pk: entry for entry in entries}


def _versions_before(conflicts: Iterable[Conflict]) -> dict[tuple[RowId, int], int]:
    """The version of each row right before the events."""
    versions: dict[tuple[RowId, int], int] = {}
    bounds: dict[RowId, int] = {}
    for conflict in conflicts:
        row, first = _place(conflict)
        # Newest first.
        known = next((entry.id for entry in conflict.past.entries if entry.id < first), None)
        if known is None:
            bounds[row] = first
        else:
            versions[row, first] = known
    if not bounds:
        return versions
    conditions = [
        Q(relation__in=row.kind.relations, object_pk=row.pk, id__lt=first)
        for row, first in bounds.items()
    ]
    older = Change.objects.filter(reduce(or_, conditions)).order_by()
    newest = older.values_list("relation", "object_pk").annotate(newest=Max("id"))
    for relation, pk, version in newest:
        row = RowId(Kind.of(relation), pk)
        versions[row, bounds[row]] = max(version, versions.get((row, bounds[row]), 0))
    return versions
