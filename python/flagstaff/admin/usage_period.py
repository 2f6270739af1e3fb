"""The sentences about the time that counts of evaluations cover, and how late they are."""

from __future__ import annotations

from django.utils.translation import gettext as _

from flagstaff._engine.usage import Usage, UsagePeriod
from flagstaff._words.times import local_time_text
from flagstaff.conf import conf


def period_text(period: Usage | UsagePeriod) -> str:
    """Returns which time the counts cover; empty if nothing was counted."""
    if period.since is None:
        return ""
    times = {"since": local_time_text(period.since)}
    if period.until is None:
        return _("Counted since %(since)s.") % times
    times["until"] = local_time_text(period.until)
    return _("Counted since %(since)s, and until %(until)s.") % times


def reports_text() -> str:
    """Returns how often workers report, or why they do not."""
    if not conf.usage_interval:
        return _("Usage is turned off: USAGE_INTERVAL is 0.")
    text = _("Workers report every %(seconds)s s: later evaluations are not included yet.")
    return text % {"seconds": f"{conf.usage_interval:g}"}
