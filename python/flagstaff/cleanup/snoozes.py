"""Snoozes a flag: it is not stale until a date. `acting_as` sets the actor and the reason."""

from __future__ import annotations

from datetime import date

from django.utils import timezone

from flagstaff._attribution.context import current_actor, current_reason
from flagstaff._tables.rows import flag_row
from flagstaff._words.message import Template
from flagstaff._words.message import marked as _
from flagstaff._words.times import aware, local_time
from flagstaff.cleanup.models import Snooze
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError

_NOT_IN_FUTURE = Template(
    "snooze_not_in_future", _("%(date)s is not in the future; use a later date")
)


def snooze(key: str, until: date) -> Snooze:
    """Snoozes a flag until a date, on which it can be stale again. Replaces an earlier snooze.

    Raises UnknownFlagError, and InvalidChangeError unless the date is in the future.
    """
    flag, now = flag_row(key), aware(timezone.now())
    if until <= local_time(now).date():
        raise InvalidChangeError(_NOT_IN_FUTURE(date=str(until)))
    row, _created = Snooze.objects.using(conf.database).update_or_create(
        flag_pk=str(flag.pk),
        defaults={
            "key": key,
            "until": until,
            "reason": current_reason(),
            "actor": current_actor(),
            "at": timezone.now(),
        },
    )
    return row


def end_snooze(key: str) -> bool:
    """Ends the snooze of a flag, and returns whether it was snoozed. Raises UnknownFlagError."""
    rows = Snooze.objects.using(conf.database).filter(flag_pk=str(flag_row(key).pk))
    is_snoozed = rows.filter(until__gt=local_time(aware(timezone.now())).date()).exists()
    rows.delete()
    return is_snoozed
