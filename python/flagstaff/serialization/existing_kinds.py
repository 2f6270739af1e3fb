"""The kinds of rows that the database has a table for."""

from __future__ import annotations

from django.db import connections

from flagstaff._tables.catalog import table_exists
from flagstaff._tables.names import segment_names
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import SECTIONS


def existing_kinds() -> list[Kind]:
    """Returns the kinds in the order of a file: without segments before their table is migrated."""
    connection = connections[conf.database]
    table = segment_names(connection, Kind.SEGMENT.model)["segment_table"]
    has_segments = table_exists(connection, table)
    return [kind for kind in SECTIONS if has_segments or kind is not Kind.SEGMENT]
