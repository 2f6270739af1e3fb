"""The words about workers, for terminals and pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext, pgettext_lazy

from flagstaff._core import RULE_FORMAT
from flagstaff._words.text import local_list, local_number, localized
from flagstaff._words.times import duration
from flagstaff._workers.overview import WorkerOverview, WorkerState

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
    "unreadable": gettext_lazy("the name of its session is not readable"),
}
_STATES = {
    True: pgettext_lazy("worker", "behind"),
    False: pgettext_lazy("worker", "up to date"),
    None: pgettext_lazy("worker", "unknown"),
}
# The workers that a sentence names.
_MAX_NAMED = 5


def state_label(is_behind: bool | None) -> str:  # noqa: FBT001 (a state, not an option)
    """Returns "behind", "up to date" or "unknown"."""
    return str(_STATES[is_behind])


def summary(found: WorkerOverview) -> str:
    """Returns one sentence: how many workers there are, and which are behind for how long."""
    count = len(found.workers)
    if not count:
        return _("The server lists no worker.") if found.unlisted else _("No worker is connected.")
    if found.behind:
        return _behind_text(found)
    if found.unknown:
        text = ngettext(
            "%(count)s worker is connected; it is not known whether it is up to date: %(workers)s.",
            "%(count)s workers are connected; it is not known whether all are up to date: "
            "%(workers)s.",
            count,
        )
        return text % {"count": local_number(count), "workers": _names(found.unknown)}
    text = ngettext(
        "%(count)s worker has evaluated flags so far. It is up to date: it has applied the newest "
        "change.",
        "%(count)s workers have evaluated flags so far. They are up to date: all have applied the "
        "newest change.",
        count,
    )
    return text % {"count": local_number(count)}


def notes(found: WorkerOverview) -> Iterator[str]:
    """Yields sentences about older versions, and about sessions that are not listed."""
    if found.older:
        yield _older_text(found.older)
    if found.unlisted:
        text = ngettext(
            "%(count)s more worker has reported in the last minutes: it polls behind a pooler or "
            "at a standby, or has lost the connection.",
            "%(count)s more workers have reported in the last minutes: they poll behind a pooler "
            "or at a standby, or have lost the connection.",
            found.unlisted,
        )
        yield text % {"count": local_number(found.unlisted)}
    if found.unnamed:
        text = ngettext(
            "%(count)s session has no worker name: a starting worker, or a connection of "
            "PgBouncer.",
            "%(count)s sessions have no worker name: starting workers, or connections of "
            "PgBouncer.",
            found.unnamed,
        )
        yield text % {"count": local_number(found.unnamed)}
    if found.of_other_projects:
        text = ngettext(
            "%(count)s worker of another project is not listed: it uses flagstaff_token in "
            "another schema.",
            "%(count)s workers of other projects are not listed: they use flagstaff_token in "
            "another schema.",
            found.of_other_projects,
        )
        yield text % {"count": local_number(found.of_other_projects)}


def _behind_text(found: WorkerOverview) -> str:
    count, behind = len(found.workers), found.behind
    text = ngettext(
        "%(behind)s of %(count)s worker is behind: %(workers)s.",
        "%(behind)s of %(count)s workers are behind: %(workers)s.",
        count,
    )
    if count > 1 and len(behind) == 1:
        text = _("1 of %(count)s workers is behind: %(workers)s.")
    return text % {
        "behind": local_number(len(behind)),
        "count": local_number(count),
        "workers": local_list(map(_late, behind), _MAX_NAMED),
    }


def _older_text(older: Sequence[WorkerState]) -> str:
    text = ngettext(
        "%(workers)s runs an older version, which cannot read format %(format)s of rules. "
        "Deploy this version to it.",
        "%(workers)s run an older version, which cannot read format %(format)s of rules. "
        "Deploy this version to them.",
        len(older),
    )
    return text % {"workers": _names(older), "format": RULE_FORMAT}


def _names(states: Sequence[WorkerState]) -> str:
    return local_list((state.worker for state in states), _MAX_NAMED)


def _late(state: WorkerState) -> str:
    text = pgettext("worker", "%(worker)s for %(time)s")
    return text % {
        "worker": state.worker,
        "time": localized(duration(state.behind_seconds or 0.0, largest_only=True)),
    }
