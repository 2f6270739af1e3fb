"""Reads the changes of flags that decide since when their results are constant. Few queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, F, Func, IntegerField, Max, Q, TextField, Value, When, Window
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import RowNumber

from flagstaff._tables.model_fields import column_of, rules_field
from flagstaff._text.json_text import read_json
from flagstaff._text.times import aware
from flagstaff.cleanup.constant import AllowedUsersChange, RowChange
from flagstaff.cleanup.results import Configuration
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import all_entries, require_history, require_triggers
from flagstaff.models import Change

__all__ = [
    "Entry",
    "PastChange",
    "WantedEntries",
    "changes_of",
    "configuration_of",
    "history_problem",
    "history_since",
    "key_since",
    "keys_since",
    "read_changes",
    "time_of",
]

PastChange = RowChange | AllowedUsersChange
#: The columns of an entry that are read.
Entry = Mapping[str, Any]

_FLAG = Kind.FLAG.row_relation
_SIDES = ("old", "new")
_FIELDS = ("object_pk", "relation", "action", "at")
_LENGTH = "pg_catalog.jsonb_array_length"


def configuration_of(flag: Any) -> Configuration:
    """Returns the present configuration of a flag. A project's own table may hold NULL."""
    field = rules_field(conf.flag_model)
    rules = None if field is None else getattr(flag, field.name)
    return Configuration(bool(flag.enabled), flag.rollout_percent or 0, _or_none(rules))


def history_problem(*, is_readable: bool = False) -> str:
    """Returns why the history does not have all changes of flags, or an empty text.

    `is_readable`: the table of the history is known to be readable.
    """
    try:
        if not is_readable:
            require_history()
        require_triggers(Kind.FLAG)
    except NoHistoryError as error:
        return str(error)
    return ""


def history_since() -> datetime | None:
    """Returns the time of the oldest entry about a flag; None without an entry. One query."""
    times = all_entries().filter(relation=_FLAG).order_by("id").values_list("at", flat=True)
    first = times.first()
    return None if first is None else aware(first)


def changes_of(
    wanted: WantedEntries, *, newest: int | None = None
) -> Mapping[str, Sequence[Entry]]:
    """Returns the entries of flags by the text of their primary key, newest first. One query.

    With `newest`, only so many of each flag. `read_changes` reads them.
    """
    entries = all_entries().filter(wanted.condition)
    if newest is not None:
        place = Window(RowNumber(), partition_by="object_pk", order_by="-id")
        ids = entries.order_by().annotate(place=place).filter(place__lte=newest).values("id")
        entries = all_entries().filter(id__in=ids)
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries.order_by("-id").values(*_FIELDS, **_columns()):
        found[entry["object_pk"]].append(entry)
    return found


def key_since(entries: Sequence[Entry], since: datetime) -> datetime | None:
    """Returns when a flag was created or got its key, if that was since a time."""
    for entry in entries:
        at = time_of(entry)
        if at < since:
            return None
        if entry["relation"] == _FLAG and entry["old_key"] != entry["new_key"]:
            return at
    return None


def time_of(entry: Entry) -> datetime:
    """Returns the time of an entry."""
    return aware(entry["at"])


def read_changes(entries: Sequence[Entry]) -> Iterator[PastChange]:
    """Yields the changes of entries. Reads only as far as the caller goes."""
    return map(_change, entries)


@dataclass(frozen=True)
class WantedEntries:
    """The entries to read, by the text of the primary keys of flags."""

    #: All about the row of these flags.
    rows: Collection[str]
    #: All about the allowed users of these flags: while a flag is on for everyone, they do not
    #: matter.
    users: Collection[str]
    #: About the row of these flags since a time.
    recent: Collection[str] = ()
    since: datetime | None = None

    @property
    def condition(self) -> Q:
        """The condition of the entries."""
        found = Q(relation=_FLAG, object_pk__in=self.rows)
        found |= Q(relation=ALLOWED_USERS, object_pk__in=self.users)
        if not self.recent:
            return found
        return found | Q(relation=_FLAG, object_pk__in=self.recent, at__gte=self.since)


def keys_since(pks: Collection[str], since: datetime) -> dict[str, datetime]:
    """Returns when flags were created or got their keys, if that was since a time. One query."""
    model = conf.flag_model
    before = KeyTextTransform(column_of(model, "key"), "old")
    found = all_entries().filter(relation=_FLAG, object_pk__in=pks, at__gte=since)
    changed = found.alias(before=before).filter(Q(before=None) | ~Q(before=F("key")))
    newest = changed.order_by().values("object_pk").annotate(newest=Max("at"))
    return {pk: aware(at) for pk, at in newest.values_list("object_pk", "newest")}


def _columns() -> dict[str, Any]:
    """The parts of entries that are read, as text: not the whole rows, nor lists of users."""
    model = conf.flag_model
    rules = rules_field(model)
    columns: dict[str, Any] = {}
    for side in _SIDES:
        columns[f"{side}_key"] = KeyTextTransform(column_of(model, "key"), side)
        columns[f"{side}_enabled"] = KeyTextTransform(column_of(model, "enabled"), side)
        columns[f"{side}_percent"] = KeyTextTransform(column_of(model, "rollout_percent"), side)
        columns[f"{side}_rules"] = (
            Value(None, TextField()) if rules is None else KeyTextTransform(str(rules.column), side)
        )
        number = Func(F(side), function=_LENGTH, output_field=IntegerField())
        columns[f"{side}_users"] = Case(When(relation=ALLOWED_USERS, then=number), default=0)
    return columns


def _change(entry: Mapping[str, Any]) -> PastChange:
    at = aware(entry["at"])
    if entry["relation"] == ALLOWED_USERS:
        return AllowedUsersChange(at, added=entry["new_users"], removed=entry["old_users"])
    before, after = (_recorded(entry, side) for side in _SIDES)
    return RowChange(at, before, after, is_creation=entry["action"] == Change.Action.INSERT)


def _recorded(entry: Mapping[str, Any], side: str) -> Configuration | None:
    """Returns a configuration of an entry; None if it lacks a column, or has no row."""
    enabled, percent = entry[f"{side}_enabled"], entry[f"{side}_percent"]
    if enabled is None or percent is None or not percent.isdigit():
        return None
    rules = entry[f"{side}_rules"]
    read = None if rules is None else read_json(rules)
    return Configuration(enabled == "true", int(percent), _or_none(read))


def _or_none(rules: object) -> object:
    """Returns None for no rules. Entries that are older than the column have none either."""
    return None if rules == [] else rules
