"""Follows the history as it grows."""

from __future__ import annotations

from django.db import connections
from django.db.models import BooleanField, Func, Max, Value
from django.db.models.expressions import F
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.history.events import Event
from flagstaff.history.grouping import MAX_TRANSACTION_AGE
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.versions import all_entries, require_history

# Ids are assigned before the commit, so a lower id may become visible after a higher one. This
# number of entries is read again, through an index.
_REREAD = 10_000


class Following:
    """Returns each event once, also of transactions that were open at the previous call."""

    def __init__(self) -> None:
        """Starts with what is committed from now on. Raises NoHistoryError."""
        require_history()
        self._snapshot = _current_snapshot()
        self._started_at = timezone.now()

    def look(self) -> list[Event]:
        """Returns the events committed since the previous call, oldest first."""
        before, self._snapshot = self._snapshot, _current_snapshot()
        newest = all_entries().aggregate(newest=Max("id"))["newest"] or 0
        # This statement may see commits after the snapshot; the next call returns those.
        changes = all_entries().filter(_is_visible(self._snapshot), id__gt=newest - _REREAD)
        # Older entries may be of another server, before a restore: its numbers mean nothing here.
        changes = changes.filter(at__gt=self._started_at - MAX_TRANSACTION_AGE)
        changes = changes.exclude(_is_visible(before))
        events: list[Event] = []
        for kind in Kind:
            events += events_among(kind, changes.filter(relation__in=kind.relations))
        return sorted(events, key=lambda event: event.version)


def _is_visible(snapshot: str) -> Func:
    """True if the transaction of an entry was committed when the snapshot was taken."""
    return Func(
        F("transaction_id"),
        Value(snapshot),
        template="pg_catalog.pg_visible_in_snapshot(%(expressions)s)",
        arg_joiner="::text::xid8, ",
        output_field=BooleanField(),
    )


def _current_snapshot() -> str:
    with connections[conf.database].cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_current_snapshot()::text")
        row = cursor.fetchone()
    return str(row[0]) if row else ""
