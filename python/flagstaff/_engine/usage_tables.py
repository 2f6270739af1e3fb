"""The tables of the usage, if they can be read."""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import own_names
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError


def usage_tables() -> tuple[BaseDatabaseWrapper, dict[str, str]]:
    """Returns the connection that has the tables, and the names of flagstaff's tables.

    Makes one query. Raises NoUsageError on SQLite, before the migration,
    and if row level security can hide rows.
    """
    connection = connections[conf.database]
    names = own_names(connection)
    if reason := why_unavailable(connection, names["usage_table"], names["worker_table"]):
        raise NoUsageError(f'usage is not available in database "{conf.database}"; {reason}')
    return connection, names
