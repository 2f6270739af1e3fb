"""The page that undoes everything that one transaction did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from flagstaff.admin.confirmation import parse_version, problems_of
from flagstaff.admin.recent_changes.undoing import UndoingMixin
from flagstaff.admin.recent_changes.urls import UNDO_TRANSACTION
from flagstaff.admin.transactions import may_undo, preview_transaction, undo_permitted
from flagstaff.admin.undoing_together import refusal_context, report_undone, transaction_context
from flagstaff.changes.planned import text_for_many
from flagstaff.history.transactions import Part, parts_of
from flagstaff.models import RecentChange

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
        planned, why = preview_transaction(self.admin_site, request, parts, change)
        if request.method == "POST" and problems is not None and not problems and not why:
            return self._undo_transaction(request, parts, change)
        context = {
            **transaction_context(self.admin_site, request, parts, planned, change),
            **refusal_context(why, problems),
            "flagstaff_parent": "admin/base_site.html",
            "flagstaff_button": "_undo_transaction",
            "flagstaff_typed": typed,
            "flagstaff_back": self._list_url(request),
        }
        page = self.confirmation(request, RecentChange(), context)
        page.template_name = "flagstaff/recent_changes/undo_transaction.html"
        return page

    def _undo_transaction(
        self, request: HttpRequest, parts: Sequence[Part], change: int
    ) -> HttpResponse:
        report_undone(self, request, undo_permitted(self.admin_site, request, parts, change))
        return HttpResponseRedirect(self._list_url(request))
