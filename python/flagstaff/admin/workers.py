"""The page of workers: one sentence, a table, and a button that waits for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib import messages
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from flagstaff import _core
from flagstaff._connection.vendor import is_postgresql
from flagstaff._words.duration import duration
from flagstaff._words.message import localized
from flagstaff._words.times import aware, clock_time
from flagstaff._workers.connection_limits import connection_use
from flagstaff._workers.connection_words import connections_texts
from flagstaff._workers.overview import WorkerState, worker_overview
from flagstaff._workers.sessions import Worker
from flagstaff._workers.words import MODE_TEXTS, notes, state_label, summary
from flagstaff.admin.base_admin import applied_by_workers
from flagstaff.admin.cells import time_cell
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.conf import conf

# Seconds for which the button waits.
_CHECK_TIMEOUT = 2.0
# The classes of the badges in admin.css, by whether a worker is behind.
_BADGES = {True: "flagstaff-partial", False: "flagstaff-on", None: "flagstaff-none"}


class WorkersAdmin(PlainPageAdmin):
    """Users who may view flags see the workers, and can check them."""

    page_template = "flagstaff/workers.html"
    docs_page = "how-to/propagation/"

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The workers. Makes up to seven queries, whatever their number."""
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
        use = connection_use(connections[conf.database], len(overview.workers))
        connections_line, *problems = map(localized, connections_texts(use)) if use else ("",)
        return {
            "summary": summary(overview),
            "connections": connections_line,
            "connections_problem": " ".join(problems),
            "is_behind": overview.is_behind,
            "badge": _BADGES[overview.is_behind],
            "state": state_label(overview.is_behind),
            "notes": [*notes(overview)],
            "rows": [_row(state) for state in overview.workers],
            "at": clock_time(aware(timezone.now())),
            "poll_interval": f"{conf.poll_interval:g}",
            "may_check": not conf.read_only,
        }

    def post_page(self, request: HttpRequest) -> HttpResponse:
        """Writes a barrier, and reports which workers have applied it. Blocks for 2 seconds."""
        if not conf.read_only:
            self._check(request)
        return HttpResponseRedirect(request.get_full_path())

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


def _row(state: WorkerState) -> Mapping[str, object]:
    """Returns a worker in the words of the page. Does not query."""
    worker = state.worker
    return {
        "host": worker.host,
        "process": _process(worker),
        "badge": _BADGES[state.is_behind],
        "state": state_label(state.is_behind),
        "snapshot": _snapshot(state),
        "mode": worker.mode,
        "mode_text": MODE_TEXTS.get(worker.mode, ""),
        "connected": time_cell(state.connected_at),
        "version": _version(worker.rule_format),
        "is_older": state.is_older,
    }


def _process(worker: Worker) -> str:
    """Returns "pid 7", or the session if the worker's own number is not known."""
    if worker.pid is None:
        return _("session %(session)s") % {"session": worker.id}
    return _("pid %(pid)s") % {"pid": worker.pid}


def _snapshot(state: WorkerState) -> str:
    """Returns the age of the flags in the memory of the worker, as far as the server knows it."""
    if state.worker.mode == "starting":
        return _("not loaded yet")
    if state.behind_seconds is not None:
        time = localized(duration(state.behind_seconds, largest_only=True))
        return _("has not applied a change made %(time)s ago") % {"time": time}
    if state.idle_seconds is None:
        return ""
    time = localized(duration(state.idle_seconds, largest_only=True))
    return _("compared with the database %(time)s ago") % {"time": time}


def _version(rule_format: int | None) -> str:
    if rule_format is None:
        return pgettext("version", "unknown")
    if rule_format < _core.RULE_FORMAT:
        return _("older version")
    if rule_format > _core.RULE_FORMAT:
        return _("newer version")
    return _("this version")
