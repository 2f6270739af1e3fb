"""Entries as statements of the admin return them, with the names of their actors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import IntegerField

from flagstaff._tables.names import user_names
from flagstaff._tables.user_lookup import ACTS_AS, actor_table
from flagstaff._words.json_text import read_exactly
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.history.log import Change, Event

# The columns of an entry, in the order of the statements.
_COLUMNS = (
    *("id", "at", "transaction_id", "relation", "key", "action", "old", "new"),
    *("removed", "added", "actor", "source", "reason", "session_user", "role"),
    "application_name",
)
# In the place of the users.
_NO_USERS = {
    "user_table": "(SELECT NULL::int8 AS pk, NULL::text AS name)",
    "user_pk": "pk",
    "user_name": "name",
}


def entry_of(pk: str, values: Sequence[Any]) -> Change:
    """Returns the entry of a row that has this primary key, as `ChangeQuerySet.short` does."""
    columns = dict(zip(_COLUMNS, values, strict=True))
    removed, added = columns.pop("removed"), columns.pop("added")
    sides = {side: _json(columns[side]) for side in ("old", "new")}
    entry = Change(**{**columns, **sides, "object_pk": pk, "at": aware(columns["at"])})
    vars(entry)["short_old"] = {"short": entry.old, "more": removed}
    vars(entry)["short_new"] = {"short": entry.new, "more": added}
    return entry


def actor_columns(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the names of the table of actors; without `reads_actors`, of one without rows."""
    return user_names(connection, actor_table().field) if reads_actors() else _NO_USERS


def reads_actors() -> bool:
    """Whether a statement can read the names of actors."""
    table = actor_table()
    return isinstance(table.field, IntegerField) and table.database == conf.database


def unnamed(events: Iterable[Event]) -> list[Event]:
    """Returns the events whose actors a statement cannot name, such as those of two users."""
    reads = reads_actors()
    return [event for event in events if not reads or ACTS_AS in (event.actor or "")]


def _json(value: object) -> Any:
    # Django makes the driver return JSON as text.
    return read_exactly(value) if isinstance(value, str) else value
