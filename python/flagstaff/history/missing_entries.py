"""Recent changes that have no entry in the history, because it could not be written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from flagstaff._tables.names import fill, own_names, sql
from flagstaff.conf import conf


@dataclass(frozen=True)
class MissingEntries:
    """The statements, of those whose change tokens are kept, that left no entry."""

    count: int
    #: When the newest of them was run.
    newest: datetime | None


def missing_entries() -> MissingEntries:
    """Returns how many recent changes have no entry. Makes a query; needs the history."""
    connection = connections[conf.database]
    statement = fill(sql("missing_entries_v1"), own_names(connection))
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return MissingEntries(*cursor.fetchone())
