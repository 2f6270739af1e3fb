"""The page that restores a flag, a value or a segment to an earlier state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.rows import Row
from flagstaff._words.local_formats import local_time_text
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import (
    ConfirmationMixin,
    posted_version,
    preview_rows,
    problems_of,
    version_text,
)
from flagstaff.admin.history_texts import change_texts, skipped_text
from flagstaff.admin.release_rights import require_release
from flagstaff.admin.reports import ReportMixin
from flagstaff.admin.segment_plan import segment_rows
from flagstaff.changes import Changed
from flagstaff.changes.change_plan import plan_change, plan_text
from flagstaff.changes.restore_version import RESTORE_BY_KIND, preview_restore
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class RestoreMixin(ConfirmationMixin, ReportMixin, _ModelAdmin):
    """Put it before ModelAdmin."""

    row_kind = Kind.FLAG

    def restore_page(self, request: HttpRequest, row: Row, to: int) -> HttpResponse:
        """Restores an earlier state, after a confirmation."""
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        typed = row.key if conf.is_production else ""
        problems = problems_of(request, typed)
        if request.method == "POST" and problems is not None and not problems:
            return self._restore(request, row, to)
        try:
            return self._preview(request, row, to, typed, problems)
        except FlagstaffError as error:
            text = _("Not restored: %(why)s") % {"why": localized(error.message)}
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.path)

    def _restore(self, request: HttpRequest, row: Row, to: int) -> HttpResponse:
        with transaction.atomic(using=conf.database):
            changed = RESTORE_BY_KIND[self.row_kind](
                row.key, to=to, expect_version=posted_version(request)
            )
            require_release(self.admin_site, request, [(self.row_kind, changed)])
        self._report(request, row, changed)
        return HttpResponseRedirect(request.path)

    def _preview(
        self, request: HttpRequest, row: Row, to: int, typed: str, problems: list[str] | None
    ) -> HttpResponse:
        preview = preview_restore(self.row_kind, row.key, to)
        require_release(self.admin_site, request, [(self.row_kind, preview)])
        if not preview.new:
            self._report(request, row, preview)
            return HttpResponseRedirect(request.path)
        at = entries(self.row_kind, row.pk).values_list("at", flat=True).get(id=to)
        question = _(
            "Restore “%(key)s” to its state after the change of %(time)s? "
            "This reverts all later changes of these fields."
        )
        if BUCKET_BY in preview.new:
            question = f"{question} {_('This reassigns every user at once.')}"
        plan = plan_change(self.row_kind, row, preview)
        note = plan_text(plan)
        page = {
            "title": _("Restore an earlier state"),
            "flagstaff_question": question % {"key": row.key, "time": local_time_text(at)},
            "flagstaff_rows": [
                *preview_rows(request, row, preview),
                *segment_rows(self.admin_site, request, plan),
            ],
            "flagstaff_notes": [note] if note else [],
            "flagstaff_version": version_text(preview.version),
            "flagstaff_label": _("Restore"),
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
            "flagstaff_back": request.path,
        }
        return self.confirmation(request, row, page)

    def _report(self, request: HttpRequest, row: Row, changed: Changed) -> None:
        if not changed.written:
            text = _("Nothing was changed: “%(key)s” already has these values.") % {"key": row.key}
            self.message_user(request, text, messages.WARNING)
            return
        text = _("“%(key)s” was restored: %(change)s.") % change_texts(request, changed)
        text += skipped_text(changed.missing)
        self.log_change(request, row, text)
        users = plan_text(plan_change(self.row_kind, row, changed))
        self.report_change(request, changed, text, users=users)
