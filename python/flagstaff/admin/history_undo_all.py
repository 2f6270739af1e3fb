"""The button that undoes all changes of one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._tables.rows import Row, all_rows, model_of
from flagstaff._text.lists import join_some
from flagstaff._text.local_formats import local_number
from flagstaff.admin.confirmation import MAX_TEXT, ConfirmationMixin, problems_of
from flagstaff.admin.history_texts import skipped_text, undone_text
from flagstaff.admin.links import page_url
from flagstaff.admin.transactions import described_parts, may_undo
from flagstaff.changes.undo_transactions import require_values
from flagstaff.conf import conf
from flagstaff.history.describe import and_more, quoted
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import parts_of
from flagstaff.history.user_names import may_see_users

__all__ = ["UNDO_ALL", "UndoAllMixin"]

#: The name of the button.
UNDO_ALL = "_undo_all"

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class UndoAllMixin(ConfirmationMixin, _ModelAdmin):
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
        if problems is None or problems:
            require_values(parts)
            with_users = may_see_users(request.user)
            label = ngettext("Undo all %(count)s", "Undo all %(count)s", len(parts))
            context = {
                "title": _("Undo all changes of a transaction"),
                "flagstaff_parts": described_parts(parts, with_users=with_users, limit=MAX_TEXT),
                "flagstaff_version": None,
                "flagstaff_button": UNDO_ALL,
                "flagstaff_target": str(change),
                "flagstaff_label": label % {"count": local_number(len(parts))},
                "flagstaff_typed": typed,
                "flagstaff_problems": problems,
            }
            page = self.confirmation(request, row, context)
            page.template_name = "flagstaff/undo_all.html"
            return page
        done = changes.undo_transaction(change)
        for changed in done:
            if changed.written and changed.key == row.key:
                self.log_change(request, row, undone_text(request, changed))
        self._report_all(request, done)
        return HttpResponseRedirect(self.next_url(request, row))

    def _report_all(self, request: HttpRequest, done: list[changes.Changed]) -> None:
        keys = [changed.key for changed in done if changed.written]
        if not keys:
            self.message_user(
                request, _("Nothing was changed: there is nothing to undo."), messages.WARNING
            )
            return
        shown = join_some((quoted(key) for key in keys), more=and_more)
        text = _("Undone: %(keys)s.") % {"keys": shown}
        missing = {pk for changed in done for pk in changed.missing}
        self.message_user(request, text + skipped_text(missing), messages.SUCCESS)

    def next_url(self, request: HttpRequest, row: Row) -> str:
        """The same page, or the list if the row is deleted."""
        if all_rows(model_of(row)).filter(pk=row.pk).exists():
            return request.path
        return page_url(self.admin_site, self.model, "changelist")
