"""The words about workers, for terminals and pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext, pgettext_lazy

from flagstaff._core import RULE_FORMAT
from flagstaff._words.text import local_list, local_number, localized
from flagstaff._words.times import duration
from flagstaff._workers.register import Worker, Workers

#: What each refresh mode means, by its name.
MODE_TEXTS = {
    "starting": gettext_lazy("the first load has not finished"),
    "live": gettext_lazy("notified of each change, and polls as well"),
    "poll": gettext_lazy("polls for changes"),
    "reload": gettext_lazy(
        "cannot see which table has changed: loads all flags and values at each poll, "
        "and allowed users once a minute"
    ),
    "down": gettext_lazy("cannot load the flags"),
    "direct": gettext_lazy("evaluations query the database"),
}
_STATES = {
    True: pgettext_lazy("worker", "behind"),
    False: pgettext_lazy("worker", "up to date"),
    None: pgettext_lazy("worker", "unknown"),
}
_LOST = pgettext_lazy("worker", "lost")
# The workers that a sentence names.
_MAX_NAMED = 5


def state_label(is_behind: bool | None) -> str:  # noqa: FBT001 (a state, not an option)
    """Returns "behind", "up to date" or "unknown"."""
    return str(_STATES[is_behind])


def worker_label(worker: Worker) -> str:
    """Returns the state of a worker: also "lost", or for how long it is behind."""
    if not worker.is_expected:
        return str(_LOST)
    if not worker.is_behind:
        return state_label(worker.is_behind)
    text = pgettext("worker", "behind for %(time)s")
    return text % {"time": _short(worker.behind_seconds)}


def summary(found: Workers) -> str:
    """Returns one sentence: how many workers there are, and which are behind for how long."""
    count = len(found.expected)
    numbers = {"count": local_number(count), "behind": local_number(len(found.behind))}
    if found.behind:
        text = ngettext(
            "%(behind)s of %(count)s worker is behind: %(workers)s.",
            "%(behind)s of %(count)s workers are behind: %(workers)s.",
            count,
        )
        if count > 1 and len(found.behind) == 1:
            text = _("1 of %(count)s workers is behind: %(workers)s.")
        return text % {**numbers, "workers": _names(map(_late, found.behind))}
    if not count:
        return _("No worker is registered.")
    unknown = [worker for worker in found.expected if worker.is_behind is None]
    if unknown:
        text = ngettext(
            "%(count)s worker is registered; it is not known whether it is up to date: "
            "%(workers)s.",
            "%(count)s workers are registered; it is not known whether all are up to date: "
            "%(workers)s.",
            count,
        )
        return text % {**numbers, "workers": _names(unknown)}
    text = ngettext(
        "%(count)s worker is registered and up to date.",
        "%(count)s workers are registered. All are up to date.",
        count,
    )
    return text % numbers


def notes(found: Workers) -> Iterator[str]:
    """Yields sentences about workers that do not report, are lost, or run an older version."""
    if found.unreported:
        text = ngettext(
            "%(count)s connected worker does not report what it has applied.",
            "%(count)s connected workers do not report what they have applied.",
            found.unreported,
        )
        yield text % {"count": local_number(found.unreported)}
    if found.lost:
        yield _("Lost (killed, or without a connection): %(workers)s.") % {
            "workers": _names(found.lost)
        }
    older = [worker for worker in found.expected if worker.is_older]
    if older:
        text = ngettext(
            "%(workers)s runs an older version, which cannot read format %(format)s of rules. "
            "Deploy this version to it.",
            "%(workers)s run an older version, which cannot read format %(format)s of rules. "
            "Deploy this version to them.",
            len(older),
        )
        yield text % {"workers": _names(older), "format": RULE_FORMAT}


def _names(workers: Iterable[Worker | str]) -> str:
    return local_list(workers, _MAX_NAMED)


def _late(worker: Worker) -> str:
    text = pgettext("worker", "%(worker)s for %(time)s")
    return text % {"worker": worker, "time": _short(worker.behind_seconds)}


def _short(seconds: float | None) -> str:
    return localized(duration(seconds or 0.0, largest_only=True))
