"""The messages after an undo or a restore, and about entries that the history lacks."""

from __future__ import annotations

from collections.abc import Collection

from django.http import HttpRequest
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._words.local_formats import local_number, local_time_text
from flagstaff.admin.confirmation import describe_changed
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.history.missing_entries import MissingEntries, missing_entries


def change_texts(request: HttpRequest, changed: changes.Changed) -> dict[str, str]:
    """Returns the key and the description of a change, for a sentence."""
    return {"key": changed.key, "change": describe_changed(request, changed)}


def skipped_text(missing: Collection[object]) -> str:
    """Returns the sentence about users who no longer exist, after a space; empty without any."""
    if not (count := len(missing)):
        return ""
    text = ngettext(
        "%(count)s user no longer exists and was skipped.",
        "%(count)s users no longer exist and were skipped.",
        count,
    )
    return f" {text % {'count': local_number(count)}}"


def missing_text() -> str:
    """Returns how many recent changes left no entry; empty if all did. Makes a query."""
    missing = value_or_default(
        "missing entries cannot be counted", missing_entries, MissingEntries(0, None)
    )
    if not missing.count:
        return ""
    text = ngettext(
        "%(count)s recent change is not in the history, which could not be written. The last was "
        "on %(time)s. The log of PostgreSQL says why.",
        "%(count)s recent changes are not in the history, which could not be written. The last was "
        "on %(time)s. The log of PostgreSQL says why.",
        missing.count,
    )
    at = "" if missing.newest is None else local_time_text(missing.newest)
    return text % {"count": local_number(missing.count), "time": at}
