"""The page of workers: one sentence, a table, and a button that waits for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff._core import RULE_FORMAT
from flagstaff._words.text import localized
from flagstaff._words.times import duration, local_time_text
from flagstaff._workers.register import Worker, Workers, read_workers
from flagstaff._workers.words import MODE_TEXTS, notes, state_label, summary, worker_label
from flagstaff.admin.base_admin import applied_by_workers
from flagstaff.admin.cells import time_cell, two_lines
from flagstaff.admin.rights import may
from flagstaff.admin.table import Column, Content, Page, Table
from flagstaff.admin.words import badge, key_link
from flagstaff.conf import conf

# Seconds for which the button waits.
_CHECK_TIMEOUT = 2.0
_STATES = {True: "behind", False: "up to date", None: "unknown"}


class WorkersPage(Page):
    """Users who may view flags see the workers, and those who may toggle them can check."""

    docs_page = "how-to/propagation/"

    def content(self) -> Content:
        """The workers. Makes one query."""
        connection = connections[conf.database]
        if not is_postgresql(connection):
            text = _(
                "Workers can be listed only on PostgreSQL. Here, every evaluation queries the "
                "database."
            )
            return Content(notes=[text])
        found = read_workers(connection)
        state = _STATES[found.is_behind]
        modes = dict.fromkeys(worker.mode for worker in found.registered)
        text = _("State at %(at)s.") % {"at": local_time_text(timezone.now())}
        return Content(
            sentence=format_html(
                *("{} {} {}", badge(state, localized(state_label(found.is_behind)))),
                *(localized(summary(found)), text),
            ),
            button=_("Check now") if self._may_check() else "",
            notes=[*_notes(found)],
            tables=[_table(found.registered)] if found.registered else [],
            remarks=[
                *(f"{mode}: {MODE_TEXTS[mode]}" for mode in modes),
                _(
                    "A worker registers after its first evaluation. A worker at a standby does not "
                    "report, and is not listed."
                ),
            ],
        )

    def post(self) -> HttpResponse:
        """Writes a barrier, and reports which workers have applied it. Blocks for 2 seconds."""
        if not self._may_check():
            raise PermissionDenied
        checked_at = local_time_text(timezone.now())
        applied = applied_by_workers(_CHECK_TIMEOUT)
        text = _("Checked at %(time)s with a test change, which changes no flag. %(result)s")
        level = messages.SUCCESS if applied.complete else messages.WARNING
        if not applied.text:
            text = _("There is nothing to check: evaluations query the database.")
            level = messages.INFO
        text %= {"time": checked_at, "result": applied.text}
        self.admin.message_user(self.request, text, level)
        return HttpResponseRedirect(self.request.get_full_path())

    def _may_check(self) -> bool:
        """Whether the user may toggle flags: a check writes, and wakes each worker."""
        return may(self.site, self.request, "toggle", conf.flag_model)


def _notes(found: Workers) -> Iterator[str]:
    yield from map(localized, notes(found))
    if found.is_behind:
        text = _(
            "A worker that polls is behind for up to %(seconds)s s after each change. A worker "
            "that stays behind hangs, is suspended, or cannot load the flags; it evaluates from "
            "its last snapshot. Read its log, run “manage.py flags status” on its host, and "
            "restart it."
        )
        yield text % {"seconds": f"{conf.poll_interval:g}"}


def _table(workers: Sequence[Worker]) -> Table:
    titles = (_("Worker"), _("State"), _("Last report"), _("Mode"), _("Started"), _("Version"))
    return Table([*map(Column, titles)], [*map(_row, workers)])


def _row(worker: Worker) -> Sequence[str]:
    state = _STATES[worker.is_behind] if worker.is_expected else "lost"
    seen = localized(duration(worker.seen_seconds, largest_only=True))
    return [
        two_lines(key_link(worker.host), f"pid {worker.pid}"),
        badge(state, localized(worker_label(worker))),
        _("%(time)s ago") % {"time": seen},
        worker.mode,
        time_cell(worker.started_at),
        _version(worker),
    ]


def _version(worker: Worker) -> str:
    if worker.is_older:
        return badge("older", _("older version"))
    return _("newer version") if worker.rule_format > RULE_FORMAT else _("this version")
