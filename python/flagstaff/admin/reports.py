"""The message after a change: old and new values, users, workers, and a link to undo it."""

from __future__ import annotations

from typing import NamedTuple

from django.contrib import messages
from django.db import connections
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _

from flagstaff._words.message import localized
from flagstaff._workers.propagation_messages import propagation_messages
from flagstaff._workers.wait import wait_for_workers
from flagstaff.admin.confirmation import describe_changed
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.recent_changes.urls import undo_url
from flagstaff.changes import Changed
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError

#: Seconds for which a save waits for the workers. Most need a few milliseconds.
SAVE_TIMEOUT = 1.0


class Applied(NamedTuple):
    """Which workers have applied a change."""

    #: Sentences; empty if evaluations query the database.
    text: str
    #: Whether all known workers have applied it.
    complete: bool


def applied_by_workers(timeout: float) -> Applied:
    """Waits until the workers have applied what is committed. Blocks for at most `timeout` seconds.

    Inside a transaction, as with ATOMIC_REQUESTS, workers cannot see the change yet: the text is
    empty.
    """
    if connections[conf.database].in_atomic_block:
        return Applied("", complete=True)
    try:
        propagation = wait_for_workers(timeout)
    except PropagationError as error:
        text = _("It is not known whether the workers have applied it: %(problem)s.")
        return Applied(text % {"problem": error}, complete=False)
    if propagation.polling_deadline is None:
        return Applied("", complete=propagation.complete)
    sentences = map(localized, propagation_messages(propagation))
    return Applied(" ".join(sentences), complete=propagation.complete)


class ReportMixin(ModelAdminMixin):
    """Put it before ModelAdmin."""

    def report_change(
        self,
        request: HttpRequest,
        changed: Changed,
        text: str = "",
        *,
        users: str = "",
        timeout: float = SAVE_TIMEOUT,
    ) -> None:
        """Shows a message about a change that is committed. Waits for the workers.

        `text` replaces the description of the change; `users` says how many of them it is about.
        """
        text = text or self.changed_text(request, changed)
        sentences = " ".join(filter(None, (text, users)))
        self.report_applied(request, sentences, timeout=timeout, undo_url=self._undo_url(changed))

    def report_applied(
        self, request: HttpRequest, text: str, *, timeout: float, undo_url: str = ""
    ) -> None:
        """Shows a message about what is committed, and which workers have applied it. Waits."""
        applied = applied_by_workers(timeout)
        level = messages.SUCCESS if applied.complete else messages.WARNING
        message = format_html("{}", " ".join(filter(None, (text, applied.text))))
        if undo_url:
            link = '<a class="button flagstaff-button flagstaff-undo" href="{}">{}</a>'
            message = format_html("{} " + link, message, undo_url, _("Undo"))
        self.message_user(request, message, level)

    def changed_text(self, request: HttpRequest, changed: Changed) -> str:
        """Returns the old and new values as a sentence."""
        texts = {"key": changed.key, "change": describe_changed(request, changed)}
        return _("“%(key)s” was changed: %(change)s.") % texts

    def _undo_url(self, changed: Changed) -> str:
        """The page that undoes the change; empty if it cannot be undone."""
        # A message after a creation would offer to delete the row.
        is_of_row = not changed.field and (changed.old is None or changed.new is None)
        if is_of_row or changed.undo is None or not changed.version or changed.secret:
            return ""
        return undo_url(self.admin_site, [changed.version])
