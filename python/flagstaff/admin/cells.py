"""Cells of the lists: a key with its description, and the last change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from flagstaff._tables.optional_fields import optional_fields
from flagstaff._words.local_formats import local_time_text
from flagstaff._words.times import aware
from flagstaff.history import Event
from flagstaff.history.describe import describe_actor

_MAX_DESCRIPTION_SHOWN = 100
# An actor that is no user may be any text.
_MAX_ACTOR = 40


def key_cell(row: Any, anchor: str = "") -> SafeString:
    """Returns the key and the description. `anchor` is the id of the key."""
    return format_html(
        '<span class="flagstaff-key"{}>{}</span><span class="flagstaff-description">{}</span>',
        format_html(' id="{}"', anchor) if anchor else "",
        row.key,
        Truncator(optional_fields(row).description).chars(_MAX_DESCRIPTION_SHOWN),
    )


def changed_cell(row: Any) -> str:
    """Returns the time since the last change. The tooltip has the date and time."""
    return time_cell(optional_fields(row).changed_at)


def newest_change_cell(text: str, event: Event, names: Mapping[str, str] | None) -> SafeString:
    """Returns a change in a few words, its actor and its time. `names` are those of actors."""
    return format_html(
        '<span class="flagstaff-what">{}</span> <span class="flagstaff-note">{} · {}</span>',
        text,
        Truncator(describe_actor(event, names)).chars(_MAX_ACTOR),
        time_cell(event.at),
    )


def labelled_cell(label: str, shown: str) -> SafeString:
    """Returns a cell for a phone, whose cards show the label; empty if nothing is shown."""
    if not shown:
        return SafeString()
    return format_html('<span data-label="{}">{}</span>', capfirst(label), shown)


def time_cell(time: datetime | None) -> str:
    """Returns the time since then, with the date and time as a tooltip; empty without a time."""
    if time is None:
        return ""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        time.isoformat(),
        local_time_text(time),
        _ago(time),
    )


def _ago(time: datetime) -> str:
    if aware(timezone.now()) - aware(time) < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(time, depth=1)}
