"""The page of workers: one sentence, a table, and a button that waits for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff._core import RULE_FORMAT
from flagstaff._words.text import localized
from flagstaff._words.times import aware, clock_time, duration
from flagstaff._workers.register import Worker, read_workers
from flagstaff._workers.words import MODE_TEXTS, notes, state_label, summary, worker_label
from flagstaff.admin.base_admin import applied_by_workers
from flagstaff.admin.cells import time_cell
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.rights import may
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
        """The workers. Makes one query."""
        if not is_postgresql(connections[conf.database]):
            text = _(
                "Workers can be listed only on PostgreSQL. Here, every evaluation queries the "
                "database."
            )
            return {"problem": text}
        found = value_or_default(
            "the page of workers cannot list them",
            lambda: read_workers(connections[conf.database]),
            None,
        )
        if found is None:
            text = _(
                "The workers cannot be listed. This needs the migrations of flagstaff, and the "
                "permission to read its tables: run “manage.py check --database %(database)s”."
            )
            return {"problem": text % {"database": conf.database}}
        modes = dict.fromkeys(worker.mode for worker in found.registered)
        return {
            "summary": localized(summary(found)),
            "is_behind": found.is_behind,
            "badge": _BADGES[found.is_behind],
            "state": localized(state_label(found.is_behind)),
            "notes": [*map(localized, notes(found))],
            "rows": [_row(worker) for worker in found.registered],
            "modes": [(mode, MODE_TEXTS[mode]) for mode in modes],
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
        return may(self.admin_site, request, "toggle", conf.flag_model)

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


def _row(worker: Worker) -> Mapping[str, object]:
    """Returns a worker in the words of the page."""
    seen = localized(duration(worker.seen_seconds, largest_only=True))
    return {
        "worker": worker,
        "badge": _BADGES[worker.is_behind],
        "state": localized(worker_label(worker)),
        "seen": _("%(time)s ago") % {"time": seen},
        "started": time_cell(worker.started_at),
        "version": _version(worker.rule_format),
    }


def _version(rule_format: int) -> str:
    if rule_format < RULE_FORMAT:
        return _("older version")
    return _("newer version") if rule_format > RULE_FORMAT else _("this version")
