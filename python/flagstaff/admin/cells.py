"""Cells of the lists: a key with its description, and the last change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from flagstaff._words.times import ago, aware, local_time, local_time_text
from flagstaff.history.describe import describe_actor
from flagstaff.history.log import Event

#: A stylesheet cuts what does not fit.
MAX_DESCRIPTION = 200
# An actor that is no user may be any text.
_MAX_ACTOR = 40


def key_cell(row: Any) -> SafeString:
    """Returns the key and the description."""
    key = format_html('<span class="flagstaff-key">{}</span>', row.key)
    return two_lines(key, Truncator(row.description).chars(MAX_DESCRIPTION))


def changed_cell(row: Any) -> str:
    """Returns the time since the last change. The tooltip has the date and time."""
    return time_cell(row.changed_at)


def newest_change_cell(text: str, event: Event, names: Mapping[str, str] | None) -> SafeString:
    """Returns a change in a few words, its actor and its time. `names` are those of actors."""
    actor = Truncator(describe_actor(event, names)).chars(_MAX_ACTOR)
    return two_lines(text, format_html("{} · {}", actor, time_cell(event.at)))


def two_lines(first: str, second: str) -> SafeString:
    """Returns a line, and below it a quiet one. The tooltip of the first is its whole text."""
    title = "" if isinstance(first, SafeString) else format_html(' title="{}"', first)
    return format_html(
        '<span class="flagstaff-first-line"{}>{}</span> '
        '<span class="flagstaff-second-line">{}</span>',
        title,
        first,
        second,
    )


def as_of(at: datetime) -> str:
    """Returns the time of what a job has computed, such as "as of 14:00"; the date unless today."""
    local, today = local_time(at), local_time(aware(timezone.now())).date()
    time = date_format(local, "H:i")
    if local.date() != today:
        time = f"{date_format(local, 'DATE_FORMAT')}, {time}"
    return _("as of %(time)s") % {"time": time}


def time_cell(time: datetime | None) -> str:
    """Returns the time since then, with the date and time as a tooltip; empty without a time."""
    if time is None:
        return ""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        time.isoformat(),
        local_time_text(time),
        ago(time),
    )
