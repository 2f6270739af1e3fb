"""The history of flags, values and segments: its entries, its events, and the versions of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, reduce
from itertools import chain, groupby
from operator import or_
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, cast

from django.db import Error, models, transaction
from django.db.models import F, Func, Q, Subquery, TextField, Value

from flagstaff._core import is_storable
from flagstaff._tables.catalog import find_tables, triggers_of, why_unavailable
from flagstaff._tables.database import db, flag_names, sql
from flagstaff._tables.rows import (
    ALLOWED_USERS,
    Kind,
    auto_now_columns,
    declaration,
    stored_fields,
    uncached,
)
from flagstaff._tables.user_lookup import LOADDATA, actor_table
from flagstaff._text import ExactDecoder, is_same_json, say
from flagstaff._text.times import aware
from flagstaff.exceptions import NoHistoryError
from flagstaff.validators import SECRET_FIELDS, is_secret

#: Names of members, from the outside in.
Path: TypeAlias = "tuple[str, ...]"

# A name that needs no quotes in a path.
_PLAIN_NAME = re.compile(r"[^\W\d][\w-]*")
# Deeper parts are compared as a whole.
_MAX_DEPTH = 30


class LongJson(NamedTuple):
    """The start of a long JSON text, in the place of its value."""

    start: str
    length: int
    #: Of the whole text.
    digest: str


@dataclass(frozen=True)
class Difference:
    """A field that a change has set."""

    field: str
    old: Any
    new: Any
    #: True if the history does not store what it was. Then `old` and `new` are None.
    secret: bool = False


@dataclass(frozen=True)
class Users:
    """Users that a change added to the allowed users, or removed."""

    count: int = 0
    #: Their primary keys; of a long list only the first ones.
    pks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class JsonDifference:
    """A member of an object that was added, removed or replaced."""

    action: Literal["added", "removed", "changed"]
    path: Path
    #: None if it was added.
    old: Any
    #: None if it was removed.
    new: Any


def row_differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    names: Mapping[str, str],
    hidden: Collection[str] = (),
) -> Iterator[Difference]:
    """Yields the differences of two rows, in the order of the model, then other columns.

    `names` are the names of fields by column; one with an empty name is no change by itself.
    `hidden` are columns that were set and that the rows lack.
    """
    in_model_order = [column for column in names if column in {*old, *new, *hidden}]
    for column in dict.fromkeys([*in_model_order, *old, *new, *hidden]):
        name = names.get(column, column)
        is_in_both = column in old and column in new
        if column in hidden:
            yield Difference(name, None, None, secret=True)
        # As texts: in Python, True equals 1 and 1 equals 1.0.
        elif name and not (is_in_both and repr(old[column]) == repr(new[column])):
            yield Difference(name, old.get(column), new.get(column))


def json_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: Path = ()
) -> Iterator[JsonDifference]:
    """Yields the members in which two JSON objects differ, as deep as possible.

    An array is compared as a whole. Numbers and booleans differ: 1 is not true, and 1 is not 1.0.

    >>> [path_text(one.path) for one in json_differences({"a": {"b": 1}}, {"a": {"b": 2}, "c": 4})]
    ['a.b', 'c']
    """
    for name in dict.fromkeys([*old, *new]):
        place = (*path, name)
        before, after = old.get(name), new.get(name)
        if name not in new:
            yield JsonDifference("removed", place, before, None)
        elif name not in old:
            yield JsonDifference("added", place, None, after)
        elif isinstance(before, dict) and isinstance(after, dict) and len(place) < _MAX_DEPTH:
            yield from json_differences(before, after, place)
        elif not is_same_json(before, after):
            yield JsonDifference("changed", place, before, after)


def path_text(path: Path) -> str:
    """Returns a path as text, such as `hosts.name`. A name with other characters is quoted."""
    text = ""
    for name in path:
        if _PLAIN_NAME.fullmatch(name):
            text += f".{name}" if text else name
        else:
            text += f"[{json.dumps(name, ensure_ascii=False)}]"
    return text


Action = Literal["create", "change", "delete"]

#: The columns that identify the author of an entry.
AUTHOR = ("actor", "source", "reason", "session_user", "role", "application_name")
# No transaction stays open longer. After a restore another server may use its number again.
MAX_TRANSACTION_AGE = timedelta(days=1)
# The number of keys that contain a text that are searched for.
_MAX_KEYS = 1_000
# The number of newest entries whose reasons are searched: no index finds a part of a text.
_MAX_REASONS = 100_000
_FIRST_BATCH, _MAX_BATCH = 200, 6_400
_SIDES = ("old", "new")


class ChangeQuerySet(models.QuerySet["Change"]):
    """Entries of the history. Methods can be chained; `events` groups the entries."""

    def of(self, kind: Kind, key: str) -> ChangeQuerySet:
        """Returns the entries of the rows that have the key, or had it. Queries the row.

        A row that has the key now has its whole history, also under earlier keys.
        """
        return self.of_keys([kind], [key])

    def of_keys(self, kinds: Collection[Kind], keys: Iterable[str]) -> ChangeQuerySet:
        """Returns the entries of the rows of these kinds that have the keys, or had them."""
        return self.filter(reduce(or_, (about_key(kinds, key) for key in keys)))

    def of_row(self, kind: Kind, pk: object) -> ChangeQuerySet:
        """Returns the entries of one row."""
        return self.filter(relation__in=kind.relations, object_pk=str(pk))

    def of_kinds(self, kinds: Iterable[Kind]) -> ChangeQuerySet:
        """Returns the entries of these kinds."""
        return self.filter(relation__in=[relation for kind in kinds for relation in kind.relations])

    def since(self, time: datetime) -> ChangeQuerySet:
        """Returns the entries from this time on. Naive times are in TIME_ZONE."""
        return self.filter(at__gte=aware(time))

    def until(self, time: datetime) -> ChangeQuerySet:
        """Returns the entries before this time."""
        return self.filter(at__lt=aware(time))

    def by(self, actor: str) -> ChangeQuerySet:
        """Returns the entries of an actor: as stored, such as "deploy", or a username. Queries."""
        return self.filter(actor__in=stored_actors(actor))

    def without_loads(self) -> ChangeQuerySet:
        """Returns the entries but those of `loaddata`, which change nothing as people do."""
        return self.exclude(source=LOADDATA)

    def in_transaction(self, entry: Change) -> ChangeQuerySet:
        """Returns the entries of the transaction that wrote `entry`.

        After a restore, another server may have used the same number at a different time.
        """
        near = entry.at - MAX_TRANSACTION_AGE, entry.at + MAX_TRANSACTION_AGE
        return self.filter(transaction_id=entry.transaction_id, at__range=near)

    def newest(self, before: int | None = None, *, few: bool = False) -> ChangeQuerySet:
        """Returns the entries, newest first; with `before`, those with a lower id.

        `few`: the conditions match few entries, so the server had better sort them than read the
        index of all ids from its end.
        """
        entries = self if before is None else self.filter(id__lt=before)
        return entries.order_by((F("id") + 0).desc() if few else "-id")

    def in_batches(self, *, few: bool = False) -> Iterator[Change]:
        """Yields the entries as `newest` does, in growing batches as the caller iterates."""
        below, size = None, _FIRST_BATCH
        while True:
            batch = list(self.newest(below, few=few)[:size])
            yield from batch
            if len(batch) < size:
                return
            below, size = batch[-1].pk, min(size * 2, _MAX_BATCH)

    def short(self) -> ChangeQuerySet:
        """Returns the same entries with the start of long values, as LongJson, for `events`.

        Of lists of users the first ones are read. `old` and `new` are deferred.
        """
        template, output = sql("short_side_v1"), models.JSONField(decoder=ExactDecoder)
        parts = {
            f"short_{side}": Func("relation", side, template=template, output_field=output)
            for side in _SIDES
        }
        return self.defer(*_SIDES).annotate(**parts)


_Manager = models.Manager.from_queryset(ChangeQuerySet)


class ChangeManager(_Manager["Change"]):
    """Reads the entries about the tables of FLAG_MODEL, VALUE_MODEL and segments.

    The same primary keys may belong to others in tables that were watched before.
    """

    def get_queryset(self) -> ChangeQuerySet:
        """Returns them from the flags' database, which no query cache serves."""
        entries = uncached(ChangeQuerySet(self.model, using=db.alias))
        return cast("ChangeQuerySet", entries.filter(object_table__in=map(_table_of, Kind)))


class Change(models.Model):
    """An entry of the history: what changed, the actor and the source. Triggers write it.

    Not managed by Django, so that `flush` does not delete the history.
    """

    class Relation(models.TextChoices):
        FLAG = "f", say("flag").lazy
        ALLOWED_USERS = "m", say("allowed users").lazy
        VALUE = "k", say("value").lazy
        SEGMENT = "s", say("segment").lazy

    class Action(models.TextChoices):
        INSERT = "insert", say("insert").lazy
        UPDATE = "update", say("update").lazy
        DELETE = "delete", say("delete").lazy
        TRUNCATE = "truncate", say("truncate").lazy

    at: models.Field[Any, datetime] = models.DateTimeField(say("at").lazy)
    transaction_id: models.Field[Any, int] = models.BigIntegerField(say("transaction").lazy)
    relation: models.Field[Any, str] = models.CharField(
        say("relation").lazy, max_length=1, choices=Relation.choices
    )
    # A regclass.
    object_table: models.Field[Any, str | None] = models.TextField(say("table").lazy, null=True)  # noqa: DJ001
    object_pk: models.Field[Any, str] = models.TextField(say("primary key").lazy)
    key: models.Field[Any, str] = models.TextField(say("key").lazy)
    action: models.Field[Any, str] = models.TextField(say("action").lazy, choices=Action.choices)
    # The rows of flags, values and segments; for allowed users the lists of removed and of added
    # pks.
    old: models.Field[Any, Any] = models.JSONField(say("old").lazy, null=True, decoder=ExactDecoder)
    new: models.Field[Any, Any] = models.JSONField(say("new").lazy, null=True, decoder=ExactDecoder)
    # The attribution that the application has set, or NULL. The columns after it are set by
    # PostgreSQL.
    actor: models.Field[Any, str | None] = models.TextField(say("actor").lazy, null=True)  # noqa: DJ001
    source: models.Field[Any, str | None] = models.TextField(say("source").lazy, null=True)  # noqa: DJ001
    reason: models.Field[Any, str | None] = models.TextField(say("reason").lazy, null=True)  # noqa: DJ001
    # Of an undo, the ids of the entries that it took back.
    undoes: models.Field[Any, Any] = models.JSONField(say("undoes").lazy, null=True)
    # The columns that were set and are not stored, because the value is secret; NULL if there are
    # none.
    hidden: models.Field[Any, Any] = models.JSONField(say("hidden columns").lazy, null=True)
    session_user: models.Field[Any, str] = models.TextField(say("session user").lazy)
    role: models.Field[Any, str] = models.TextField(say("role").lazy)
    application_name: models.Field[Any, str] = models.TextField(say("application name").lazy)

    # A manager has the methods of its query set. Some type checkers cannot read `from_queryset`.
    objects: ClassVar[ChangeQuerySet] = cast("ChangeQuerySet", ChangeManager())

    class Meta:
        managed = False
        db_table = "flagstaff_change"
        default_permissions = ("view",)
        verbose_name = say("change").lazy
        verbose_name_plural = say("changes").lazy
        ordering = ("-id",)

    def __str__(self) -> str:
        relation = self.get_relation_display()
        return f"{self.action} of {relation} {self.key} by {self.actor or self.session_user}"

    @property
    def is_deletion(self) -> bool:
        """Whether the row was deleted."""
        return self.action in {self.Action.DELETE, self.Action.TRUNCATE}

    @property
    def kind(self) -> Kind:
        """What the entry is about."""
        return Kind.of(self.relation)

    @property
    def undone(self) -> list[int]:
        """The ids of the entries that this one took back. SQL may write any JSON."""
        stored = self.undoes if isinstance(self.undoes, list) else []
        return [pk for pk in stored if isinstance(pk, int)]


@dataclass(frozen=True)
class Event:
    """What one transaction did to one flag, value or segment under one author."""

    #: Its entries, newest first.
    entries: tuple[Change, ...]
    #: The version that the event made: the id of its newest entry.
    version: int
    at: datetime
    #: Events of one transaction have the same number.
    transaction_id: int
    kind: Literal["flag", "value", "segment"]
    key: str
    object_pk: str
    action: Action
    #: The changed fields of the row. Of a created or deleted row, all fields.
    differences: tuple[Difference, ...]
    added: Users
    removed: Users
    #: Set by the application, which the database cannot verify; or None.
    actor: str | None
    source: str | None
    reason: str | None
    #: Recorded by the database itself.
    session_user: str
    role: str
    application_name: str
    #: Of an undo, the ids of the entries that it took back.
    undoes: tuple[int, ...] = ()


def events(newest_first: Iterable[Change]) -> Iterator[Event]:
    """Yields the events that these entries make up, newest first. Does not query.

    Entries next to each other are one event if they have the transaction, the row and the author
    in common. So where transactions wrote at the same time, or a page ends, an event may be split.
    """
    for _key, entries in groupby(newest_first, key=event_key):
        yield _event(tuple(entries))


def event_key(entry: Change) -> tuple[object, ...]:
    """Returns what the entries of an event have in common."""
    author = (getattr(entry, name) for name in AUTHOR)
    return entry.transaction_id, entry.kind, entry.object_pk, *author


def _event(entries: tuple[Change, ...]) -> Event:
    newest = entries[0]
    rows = [entry for entry in entries if entry.relation != ALLOWED_USERS]
    lists = [entry for entry in reversed(entries) if entry.relation == ALLOWED_USERS]
    old, new = (side_of(rows[-1], "old"), side_of(rows[0], "new")) if rows else (None, None)
    hidden = dict.fromkeys(name for entry in reversed(rows) for name in entry.hidden or ())
    names = _field_names(newest.kind.model)
    differences = row_differences(old or {}, new or {}, names, hidden)
    # No trigger has removed what code says is secret, until a write stores that it is.
    masked = SECRET_FIELDS if is_secret(declaration(newest.kind.model, newest.key)) else ()
    return Event(
        entries=entries,
        version=newest.pk,
        at=newest.at,
        transaction_id=newest.transaction_id,
        kind=newest.kind.value,
        key=newest.key,
        object_pk=newest.object_pk,
        action=_action(rows, old, new),
        differences=tuple(
            Difference(each.field, None, None, secret=True) if each.field in masked else each
            for each in differences
        ),
        added=_users(lists, "new"),
        removed=_users(lists, "old"),
        **{name: getattr(newest, name) for name in AUTHOR},
        undoes=tuple(dict.fromkeys(pk for entry in entries for pk in entry.undone)),
    )


def _action(rows: Sequence[Change], old: object, new: object) -> Action:
    if not rows or (old is not None and new is not None):
        return "change"
    return "delete" if new is None else "create"


def side_of(entry: Change, side: str) -> Any:
    """Returns the old or the new side of an entry; of long values in short entries the start."""
    short = vars(entry).get(f"short_{side}")
    if short is None:
        return getattr(entry, side)
    row, more = short["short"], short.get("more")
    starts = more if isinstance(more, dict) else {}
    return {**row, **{name: LongJson(*start) for name, start in starts.items()}} if starts else row


def _users(oldest_first: Sequence[Change], side: str) -> Users:
    lists = [(entry, side_of(entry, side)) for entry in oldest_first]
    count = sum(vars(entry).get(f"short_{side}", {}).get("more", len(pks)) for entry, pks in lists)
    # The user column of a table may hold NULL, and an earlier user model had other types.
    in_order = (
        sorted(pks, key=lambda pk: (isinstance(pk, str), pk is None, pk)) for _entry, pks in lists
    )
    return Users(count, tuple(chain.from_iterable(in_order)))


@cache
def _field_names(model: type[models.Model]) -> Mapping[str, str]:
    """The names of fields by column; "" for columns that are no change by themselves."""
    names = {str(field.column): field.name for field in stored_fields(model)}
    ignored = {*auto_now_columns(model), str(model._meta.pk.column)}
    return {column: "" if column in ignored else name for column, name in names.items()}


def undone_by(entries: Sequence[Change]) -> dict[int, Change]:
    """Returns the newest undo that took each of these entries back, by the id of the entry.

    An undo that was undone itself takes nothing back.
    """
    if not entries:
        return {}
    pks, oldest = {entry.object_pk for entry in entries}, min(entry.pk for entry in entries)
    undos = Change.objects.filter(object_pk__in=pks, id__gt=oldest, undoes__isnull=False)
    by_pk: dict[int, Change] = {}
    for undo in undos.defer(*_SIDES).newest():
        if undo.pk not in by_pk:
            by_pk |= {pk: undo for pk in undo.undone if pk not in by_pk}
    return by_pk


def remaining(events: Sequence[Event], undone: Mapping[int, Change]) -> list[Event]:
    """Returns which of these events an undo of all of them takes back.

    `undone` is what `undone_by` returns for their entries. Neither an event that was undone, nor an
    undo of others among them, counts.
    """
    versions = {entry.pk for event in events for entry in event.entries}
    return [
        event
        for event in events
        if event.version not in undone and not (event.undoes and versions.issuperset(event.undoes))
    ]


# What is searched for.


def about_key(kinds: Collection[Kind], key: str) -> Q:
    """Returns the condition for entries of the rows that have the key now, or had it. Queries."""
    if not is_storable(key):
        return Q(pk__in=())
    about = Q(key=key)
    for kind in kinds:
        row = kind.find(key)
        if row is not None:
            about |= Q(relation__in=kind.relations, object_pk=str(row.pk))
    return about


def has_text(text: str) -> Q:
    """Returns the condition for entries with a part of the key, or recent ones of the reason."""
    if not is_storable(text):
        return Q(pk__in=())
    # They ignore case.
    keys = db.query("history_keys_v1", [text, _MAX_KEYS])
    newest = Subquery(Change.objects.newest().values("id")[:1])
    recent = Q(reason__icontains=text, id__gt=newest - Value(_MAX_REASONS))
    return Q(key__in=[key for [key] in keys]) | recent


def stored_actors(name: str) -> set[str]:
    """Returns the texts that the history may store for an actor: `name`, and primary keys of users.

    Only `name` if the role may not read users.
    """
    if not is_storable(name):
        return set()
    users = actor_table()
    username = users.username_field
    if username is None:
        return {name}
    try:
        with transaction.atomic(using=users.database):
            matching = users.rows.filter(**{username.name: name})
            return {name, *map(str, matching.values_list(users.field.name, flat=True))}
    except Error:
        return {name}


def unreadable_kinds() -> list[Kind]:
    """Returns the kinds whose table the role may not read, such as values. One query."""
    quoted = {kind: db.table(kind.model) for kind in Kind}
    tables = find_tables(db.connection, *quoted.values())
    return [kind for kind, name in quoted.items() if name in tables and not tables[name].may_read]


# The version of a row: the id of its newest entry.


def flag_version(key: str) -> int | None:
    """Returns the version of a flag and its allowed users; 0 if it has no entry.

    Returns None if there is no history, on SQLite. Raises UnknownFlagError.
    """
    return version_of(Kind.FLAG, Kind.FLAG.row(key).pk)


def value_version(key: str) -> int | None:
    """Returns the version of a value, as `flag_version` does. Raises UnknownValueError."""
    return version_of(Kind.VALUE, Kind.VALUE.row(key).pk)


def segment_version(key: str) -> int | None:
    """Returns the version of a segment, as `flag_version` does. Raises UnknownSegmentError."""
    return version_of(Kind.SEGMENT, Kind.SEGMENT.row(key).pk)


def version_of(kind: Kind, pk: object) -> int | None:
    """Returns the version of the row that has, or had, this primary key; None without history."""
    return versions_of(kind, [pk]).get(str(pk), 0) if has_history() else None


def versions_of(kind: Kind, pks: Iterable[object]) -> dict[str, int]:
    """Returns the versions of the rows that have one, by the text of the primary key."""
    return {pk: version for pk, version, _at in newest_of_rows(kind, map(str, pks))}


def newest_of_rows(kind: Kind, pks: Iterable[str]) -> list[tuple[str, int, float]]:
    """Returns the primary key, and the id and the time of the newest entry, of rows with entries.

    Times are in seconds. One query.
    """
    parameters = {
        "relations": [*kind.relations],
        "pks": [*pks],
        "table": db.table(kind.model),
    }
    rows: list[Any] = db.query("newest_entries_v1", parameters)
    return rows


def entries_of_key(kind: Kind, key: str) -> ChangeQuerySet:
    """Returns the entries about rows that had this key; not those about allowed users."""
    return Change.objects.filter(relation=kind.row_relation, key=key)


def deleted_pk(kind: Kind, key: str) -> str | None:
    """Returns the primary key of the row that last had this key, if it was deleted."""
    newest = entries_of_key(kind, key).newest().first() if has_history() else None
    return None if newest is None or not newest.is_deletion else newest.object_pk


# Whether there is a history.


def has_history() -> bool:
    """Returns True if the flags' database has the table of the history, and shows all its rows."""
    return _why_unavailable() is None


def require_history() -> None:
    """Raises NoHistoryError if there is no history, or if some of its rows can be hidden.

    Without its newest entry, an undo would revert an older change.
    """
    if reason := _why_unavailable():
        raise NoHistoryError(
            'history is not available in database "{database}"; {reason}',
            database=db.alias,
            reason=reason,
        )


def _why_unavailable() -> str | None:
    return why_unavailable(db.connection, db.tables["change_table"])


def require_triggers(kind: Kind) -> None:
    """Raises NoHistoryError if changes leave no entry, because then versions never change."""
    tables = [db.table(kind.model)]
    if kind is Kind.FLAG:
        names = flag_names(db.connection, kind.model)
        tables = [names["flag_table"], names["allowed_users_table"]]
    for table, triggers in triggers_of(db.connection, tables).items():
        if triggers.write_history:
            continue
        raise NoHistoryError(
            'the history does not record {table}, so versions are unknown; run "{command}" to see '
            "how to install the triggers",
            table=table,
            command=f"manage.py check --database {db.alias}",
        )


def missing_entries() -> tuple[int, datetime | None]:
    """Returns how many recent changes left no entry, and when the newest was made. One query.

    They are among the statements whose change tokens are kept. Needs the history.
    """
    [(count, newest)] = db.query("missing_entries_v1")
    return count, newest


def _table_of(kind: Kind) -> Func:
    # As a subquery, so that the server resolves the name once, not for each entry.
    return Func(
        Value(db.table(kind.model)),
        template="(SELECT pg_catalog.to_regclass(%(expressions)s))",
        output_field=TextField(),
    )
