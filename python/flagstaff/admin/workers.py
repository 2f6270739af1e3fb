"""The page of workers: one sentence, a table, and a button that waits for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._connection.vendor import is_postgresql
from flagstaff._core import RULE_FORMAT
from flagstaff._words.text import local_list, local_number, localized
from flagstaff._words.times import aware, clock_time, duration
from flagstaff._workers.overview import WorkerState, worker_overview
from flagstaff._workers.sessions import Worker
from flagstaff._workers.words import MODE_TEXTS, notes, state_label, summary
from flagstaff.admin.base_admin import applied_by_workers
from flagstaff.admin.cells import time_cell
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.permissions import may
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.conf import conf

# Seconds for which the button waits.
_CHECK_TIMEOUT = 2.0
# The classes of the badges in admin.css, by whether a worker is behind.
_BADGES = {True: "flagstaff-partial", False: "flagstaff-on", None: "flagstaff-none"}


class WorkersAdmin(PlainPageAdmin):
    """Users who may view flags see the workers, and those who may toggle them can check."""

    page_template = "flagstaff/workers.html"
    docs_page = "how-to/propagation/"

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The workers. Makes up to six queries, whatever their number."""
        if not is_postgresql(connections[conf.database]):
            text = _(
                "Workers can be listed only on PostgreSQL. Here, every evaluation queries the "
                "database."
            )
            return {"problem": text}
        overview = value_or_default(
            "the page of workers cannot list them",
            lambda: worker_overview(connections[conf.database]),
            None,
        )
        if overview is None:
            text = _(
                "The workers cannot be listed. This needs the migrations of flagstaff, and the "
                "permission to read its tables: run “manage.py check --database %(database)s”."
            )
            return {"problem": text % {"database": conf.database}}
        modes = dict.fromkeys(state.worker.mode for state in overview.workers)
        return {
            "summary": summary(overview),
            "is_behind": overview.is_behind,
            "badge": _BADGES[overview.is_behind],
            "state": state_label(overview.is_behind),
            "notes": [*notes(overview)],
            "rows": [_row(states) for states in _groups(overview.workers)],
            "modes": [(mode, MODE_TEXTS.get(mode, "")) for mode in modes],
            "at": clock_time(aware(timezone.now())),
            "poll_interval": f"{conf.poll_interval:g}",
            "may_check": self._may_check(request),
        }

    def post_page(self, request: HttpRequest) -> HttpResponse:
        """Writes a barrier, and reports which workers have applied it. Blocks for 2 seconds."""
        if not self._may_check(request):
            raise PermissionDenied
        self._check(request)
        return HttpResponseRedirect(request.get_full_path())

    def _may_check(self, request: HttpRequest) -> bool:
        """Whether the user may toggle flags: a check writes, and wakes each worker."""
        return may(self.admin_site, request, "toggle")

    def _check(self, request: HttpRequest) -> None:
        checked_at = clock_time(aware(timezone.now()))
        applied = applied_by_workers(_CHECK_TIMEOUT)
        if not applied.text:
            text = _("There is nothing to check: evaluations query the database.")
            self.message_user(request, text, messages.INFO)
            return
        text = _("Checked at %(time)s with a test change, which changes no flag. %(result)s")
        level = messages.SUCCESS if applied.complete else messages.WARNING
        self.message_user(request, text % {"time": checked_at, "result": applied.text}, level)


def _groups(states: Iterable[WorkerState]) -> Iterable[list[WorkerState]]:
    """Returns the workers of a host that have the same state, mode and version as one list."""
    groups: dict[object, list[WorkerState]] = {}
    for state in states:
        worker = state.worker
        alike = (worker.host, state.is_behind, worker.mode, worker.rule_format)
        groups.setdefault(alike, []).append(state)
    return groups.values()


def _row(states: Sequence[WorkerState]) -> Mapping[str, object]:
    """Returns workers that are alike in the words of the page. Does not query."""
    first = states[0]
    return {
        "host": first.worker.host,
        "processes": _processes([state.worker for state in states]),
        "badge": _BADGES[first.is_behind],
        "state": state_label(first.is_behind),
        "snapshot": _snapshot(states),
        "mode": first.worker.mode,
        "connected": time_cell(_earliest(state.connected_at for state in states)),
        "version": _version(first.worker.rule_format),
        "is_older": first.is_older,
    }


def _processes(workers: Sequence[Worker]) -> str:
    """Returns "pid 7", "2 workers: pids 7, 9", or sessions if the names have no process id."""
    count = len(workers)
    if workers[0].pid is None:
        numbers = local_list(worker.id for worker in workers)
        text = ngettext("session %(session)s", "sessions %(session)s", count)
        which = text % {"session": numbers}
    else:
        numbers = local_list(sorted(worker.pid or 0 for worker in workers))
        which = ngettext("pid %(pid)s", "pids %(pid)s", count) % {"pid": numbers}
    if count == 1:
        return which
    text = ngettext("%(count)s worker: %(which)s", "%(count)s workers: %(which)s", count)
    return text % {"count": local_number(count), "which": which}


def _snapshot(states: Sequence[WorkerState]) -> str:
    """Returns the greatest age of the flags in memory, as far as the server knows it."""
    if states[0].worker.mode == "starting":
        return _("not loaded yet")
    behind = _greatest(state.behind_seconds for state in states)
    if behind is not None:
        time = localized(duration(behind, largest_only=True))
        return _("has not applied a change made %(time)s ago") % {"time": time}
    idle = _greatest(state.idle_seconds for state in states)
    if idle is None:
        return ""
    time = localized(duration(idle, largest_only=True))
    return _("compared with the database %(time)s ago") % {"time": time}


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


def _greatest(ages: Iterable[float | None]) -> float | None:
    return max((age for age in ages if age is not None), default=None)


def _version(rule_format: int | None) -> str:
    if rule_format is None:
        return pgettext("version", "unknown")
    if rule_format < RULE_FORMAT:
        return _("older version")
    if rule_format > RULE_FORMAT:
        return _("newer version")
    return _("this version")
