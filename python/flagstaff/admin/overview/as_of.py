"""The time of what a job has computed."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from flagstaff._words.times import aware, local_time


def as_of(at: datetime) -> str:
    """Returns "as of 14:00", with the date unless it is today."""
    local, today = local_time(at), local_time(aware(timezone.now())).date()
    time = date_format(local, "H:i")
    if local.date() != today:
        time = f"{date_format(local, 'DATE_FORMAT')}, {time}"
    return _("as of %(time)s") % {"time": time}
