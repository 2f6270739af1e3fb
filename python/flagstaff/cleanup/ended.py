"""Keys besides those of flags that only have to leave the code, as of shipped experiments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from flagstaff._extensions import EndedKey, optional_apps
from flagstaff._words.times import aware, local_time


def ended_keys() -> list[EndedKey]:
    """Returns such keys of all apps, the oldest first. Makes a query for each app that has some."""
    keys = (key for app in optional_apps() for key in app.ended_keys())
    return sorted(keys, key=lambda key: (key.since, key.key))


def is_older(ended: EndedKey, days: int) -> bool:
    """Returns True if it ended at least `days` days ago."""
    return aware(timezone.now()) - ended.since >= timedelta(days=days)


def ended_text(ended: EndedKey, show: Callable[[date], str] = date.isoformat) -> str:
    """Returns a sentence for people. `show` returns the text of a date."""
    text = _("The %(kind)s %(key)s has given everyone %(result)s since %(date)s.")
    since = show(local_time(ended.since).date())
    return text % {"kind": ended.kind, "key": ended.key, "result": ended.result, "date": since}


def ended_record(ended: EndedKey) -> dict[str, object]:
    """Returns the same for JSON."""
    return {
        "kind": ended.kind,
        "key": ended.key,
        "result": ended.result,
        "since": ended.since,
    }
