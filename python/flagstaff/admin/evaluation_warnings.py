"""Warnings on the page that confirms a deletion: the flags are still evaluated."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import RecentEvaluations, recent_usage
from flagstaff._words.lists import MAX_SHOWN, local_list
from flagstaff._words.local_formats import local_days, local_number, local_time_text


def evaluation_warnings(keys: Collection[str]) -> Iterator[str]:
    """Yields a sentence for each flag that was evaluated recently; for many flags, one for all."""
    usage = recent_usage(keys)
    if usage is None or not usage.evaluations:
        return
    days = local_days(usage.days)
    if len(usage.evaluations) > MAX_SHOWN:
        text = _("In the last %(days)s, these flags were evaluated: %(keys)s.")
        yield text % {"days": days, "keys": local_list(usage.evaluations)}
    else:
        for key, evaluations in usage.evaluations.items():
            yield _warning(key, evaluations, days)
    if usage.hosts:
        yield _("In this time, workers ran on: %(hosts)s.") % {"hosts": local_list(usage.hosts)}


def _warning(key: str, evaluations: RecentEvaluations, days: str) -> str:
    text = ngettext(
        "The flag “%(key)s” was evaluated %(count)s time in the last %(days)s, last at %(time)s.",
        "The flag “%(key)s” was evaluated %(count)s times in the last %(days)s, last at %(time)s.",
        evaluations.count,
    )
    return text % {
        "key": key,
        "count": local_number(evaluations.count),
        "days": days,
        "time": local_time_text(evaluations.last_evaluated_at),
    }
