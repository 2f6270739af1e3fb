"""The time since an event in the language of the page: "4 min ago", "vor 4 min"."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

from flagstaff._words.times import aware

# Whole phrases: in German, "2 Tage" becomes "vor 2 Tagen".
_UNITS = (
    (365 * 86_400, ngettext_lazy("%(count)s year ago", "%(count)s years ago", "count")),
    (30 * 86_400, ngettext_lazy("%(count)s month ago", "%(count)s months ago", "count")),
    (7 * 86_400, ngettext_lazy("%(count)s week ago", "%(count)s weeks ago", "count")),
    (86_400, ngettext_lazy("%(count)s day ago", "%(count)s days ago", "count")),
    (3_600, ngettext_lazy("%(count)s h ago", "%(count)s h ago", "count")),
    (60, ngettext_lazy("%(count)s min ago", "%(count)s min ago", "count")),
)


def ago(time: datetime, now: datetime | None = None) -> str:
    """Returns the time since then in its largest unit."""
    seconds = (aware(now or timezone.now()) - aware(time)).total_seconds()
    for size, text in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return str(text % {"count": count})
    return _("just now")
