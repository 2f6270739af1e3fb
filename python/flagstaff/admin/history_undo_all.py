"""The button that undoes all changes of one transaction."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from flagstaff._tables.rows import Row, all_rows, model_of
from flagstaff.admin.confirmation import ConfirmationMixin, problems_of
from flagstaff.admin.history_texts import undone_text
from flagstaff.admin.links import page_url
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.reports import ReportMixin
from flagstaff.admin.transactions import may_undo, preview_transaction, undo_permitted
from flagstaff.admin.undoing_together import refusal_context, report_undone, transaction_context
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import parts_of

#: The name of the button.
UNDO_ALL = "_undo_all"


class UndoAllMixin(ConfirmationMixin, ReportMixin, ModelAdminMixin):
    """Put it before ModelAdmin."""

    row_kind = Kind.FLAG

    def undo_all(self, request: HttpRequest, row: Row, change: int) -> HttpResponse:
        """Undoes the whole transaction of a change of this row, after a confirmation page."""
        parts = parts_of(change)
        if (self.row_kind, str(row.pk)) not in [(part.kind, part.pk) for part in parts]:
            raise Http404
        if not may_undo(self.admin_site, request, parts):
            raise PermissionDenied
        typed = row.key if conf.is_production else ""
        problems = problems_of(request, typed)
        planned, why = preview_transaction(self.admin_site, request, parts, change)
        if why or problems is None or problems:
            context = {
                **transaction_context(self.admin_site, request, parts, planned, change),
                **refusal_context(why, problems),
                "flagstaff_button": UNDO_ALL,
                "flagstaff_typed": typed,
            }
            page = self.confirmation(request, row, context)
            page.template_name = "flagstaff/undo_all.html"
            return page
        done = undo_permitted(self.admin_site, request, parts, change)
        for changed in done:
            if changed.written and changed.key == row.key:
                self.log_change(request, row, undone_text(request, changed))
        report_undone(self, request, done)
        return HttpResponseRedirect(self.next_url(request, row))

    def next_url(self, request: HttpRequest, row: Row) -> str:
        """The same page, or the list if the row is deleted."""
        if all_rows(model_of(row)).filter(pk=row.pk).exists():
            return request.path
        return page_url(self.admin_site, self.model, "changelist")
