"""The job of `run-jobs` that counts the stale flags, for the overview in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

from django.utils import timezone

from flagstaff._tables.database import db
from flagstaff._words.cells import Column
from flagstaff._words.times import is_of_this_hour
from flagstaff.extensions import Job, JobReport
from flagstaff.models import StaleCount
from flagstaff.stale.facts import stale_flags


def _run(_stop: Event) -> Sequence[JobReport]:
    """Counts once an hour, and reports nothing. Raises database errors."""
    stored = db.rows(StaleCount)
    if not is_of_this_hour(stored.values_list("at", flat=True).first()):
        values = {"count": len(stale_flags()), "at": timezone.now()}
        stored.update_or_create(pk=1, defaults=values)
    return ()


STALE = Job(name="stale_flags", run=_run, columns=(Column("error"),), is_quiet=True)
