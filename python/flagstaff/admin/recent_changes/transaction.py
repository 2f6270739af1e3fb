"""The page that undoes everything that one transaction did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._text.lists import join_some
from flagstaff._text.local_formats import local_number
from flagstaff.admin.confirmation import MAX_TEXT, parse_version, problems_of
from flagstaff.admin.deleting import text_for_many
from flagstaff.admin.history_texts import skipped_text
from flagstaff.admin.propagation import applied_by_workers
from flagstaff.admin.recent_changes.undoing import UndoingMixin
from flagstaff.admin.recent_changes.urls import UNDO_TRANSACTION
from flagstaff.admin.reports import SAVE_TIMEOUT
from flagstaff.admin.transactions import described_parts, may_undo
from flagstaff.changes import undo_transaction
from flagstaff.changes.known_texts import refusal_text
from flagstaff.changes.undo_transactions import require_values
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import and_more, quoted
from flagstaff.history.transactions import parts_of
from flagstaff.history.user_names import may_see_users
from flagstaff.models import RecentChange

__all__ = ["TransactionMixin"]

if TYPE_CHECKING:
    _Admin = ModelAdmin[RecentChange]
else:
    _Admin = object


class TransactionMixin(UndoingMixin, _Admin):
    """Put it before ModelAdmin."""

    def transaction_page(self, request: HttpRequest) -> HttpResponse:
        """Shows what the transaction of an entry did. A POST undoes it."""
        change = parse_version(request.GET.get(UNDO_TRANSACTION))
        parts = parts_of(change)
        if not parts:
            raise Http404
        if not may_undo(self.admin_site, request, parts):
            raise PermissionDenied
        typed = text_for_many([part.key for part in parts])
        problems = problems_of(request, typed)
        if request.method == "POST" and problems is not None and not problems:
            return self._undo_transaction(request, change)
        try:
            require_values(parts)
        except FlagstaffError as error:
            text = _("Not undone: %(why)s") % {"why": refusal_text(str(error))}
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(self._list_url(request))
        label = ngettext("Undo all %(count)s", "Undo all %(count)s", len(parts))
        with_users = may_see_users(request.user)
        context = {
            "title": _("Undo all changes of a transaction"),
            "flagstaff_parent": "admin/base_site.html",
            "flagstaff_parts": described_parts(parts, with_users=with_users, limit=MAX_TEXT),
            "flagstaff_version": None,
            "flagstaff_button": "_undo_transaction",
            "flagstaff_target": str(change),
            "flagstaff_label": label % {"count": local_number(len(parts))},
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
            "flagstaff_back": self._list_url(request),
        }
        page = self.confirmation(request, RecentChange(), context)
        page.template_name = "flagstaff/recent_changes/undo_transaction.html"
        return page

    def _undo_transaction(self, request: HttpRequest, change: int) -> HttpResponse:
        done = [one for one in undo_transaction(change) if one.written]
        if not done:
            text = _("Nothing was changed: there is nothing to undo.")
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(self._list_url(request))
        keys = join_some((quoted(one.key) for one in done), more=and_more)
        text = _("Undone: %(keys)s.") % {"keys": keys}
        missing = {pk for one in done for pk in one.missing}
        applied = applied_by_workers(SAVE_TIMEOUT)
        text = " ".join(filter(None, (text + skipped_text(missing), applied.text)))
        level = messages.SUCCESS if applied.complete else messages.WARNING
        self.message_user(request, text, level)
        return HttpResponseRedirect(self._list_url(request))
