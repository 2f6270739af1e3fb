"""The history as it grows: what was committed between two looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.models import BooleanField, Func, Max, Value
from django.db.models.expressions import F
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.versions import all_entries, require_history

__all__ = ["Following"]

# Versions are drawn before their transaction commits, so that a lower one may come after a higher
# one. So many entries are looked at again, which an index finds.
_LATE = 10_000
# No transaction is open for longer. Entries that another server has numbered, before a restore, are
# older, and their transactions tell nothing here.
_OPEN = timedelta(days=1)


class Following:
    """Gives each event once, also of a transaction that was open at the look before."""

    def __init__(self) -> None:
        """Begin with what is committed from now on. Raises NoHistoryError."""
        require_history()
        self._seen = _snapshot()
        self._begun = timezone.now()

    def look(self) -> list[Event]:
        """What was committed since the last look, oldest first."""
        before, self._seen = self._seen, _snapshot()
        newest = all_entries().aggregate(newest=Max("id"))["newest"] or 0
        # A statement sees what its snapshot sees, and this one is later than the one that counts.
        found = all_entries().filter(_is_in(self._seen), id__gt=newest - _LATE)
        found = found.filter(at__gt=self._begun - _OPEN)
        found = found.exclude(_is_in(before))
        events: list[Event] = []
        for kind in Kind:
            events += events_among(kind, found.filter(relation__in=kind.relations))
        return sorted(events, key=lambda event: event.version)


def _is_in(snapshot: str) -> Any:
    """Whether an entry's transaction was committed at that moment."""
    return Func(
        F("transaction_id"),
        Value(snapshot),
        template="pg_catalog.pg_visible_in_snapshot(%(expressions)s)",
        arg_joiner="::text::xid8, ",
        output_field=BooleanField(),
    )


def _snapshot() -> str:
    with connections[conf.database].cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_current_snapshot()::text")
        row = cursor.fetchone()
    return str(row[0]) if row else ""
