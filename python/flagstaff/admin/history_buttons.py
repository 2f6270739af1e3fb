"""The buttons of a history: undo a change, or restore an earlier state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff import changes
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.rows import Row
from flagstaff._words.local_formats import local_time_text
from flagstaff.admin.bucket_units import reassigned_text
from flagstaff.admin.confirmation import (
    parse_version,
    posted_version,
    preview_rows,
    problems_of,
    version_text,
)
from flagstaff.admin.history_texts import change_texts, skipped_text, undone_text
from flagstaff.admin.history_undo_all import UNDO_ALL, UndoAllMixin
from flagstaff.admin.release_rights import require_release
from flagstaff.admin.reports import ReportMixin
from flagstaff.admin.segment_plan import segment_rows
from flagstaff.admin.undo_permissions import may_write, write_of
from flagstaff.changes.change_plan import ChangePlan, plan_change, plan_text
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.restore_version import RESTORE_BY_KIND, preview_restore
from flagstaff.changes.undo_event import UNDO_BY_KIND, preview_undo
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries, version_of

# Names of submit buttons.
_UNDO, _RESTORE = "_undo", "_restore"

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class HistoryButtonsMixin(UndoAllMixin, ReportMixin, _ModelAdmin):
    """Put it before ModelAdmin."""

    row_kind = Kind.FLAG

    def post_button(self, request: HttpRequest, row: Row) -> HttpResponse:
        """Handles a button."""
        if _UNDO in request.POST:
            return self.undo_page(request, row, parse_version(request.POST[_UNDO]))
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if UNDO_ALL in request.POST:
            return self.undo_all(request, row, parse_version(request.POST[UNDO_ALL]))
        return self._restore(request, row, parse_version(request.POST.get(_RESTORE)))

    def undo_page(self, request: HttpRequest, row: Row, change: int) -> HttpResponse:
        """Undoes a change. Asks first if users would gain the flag, or if a reason is needed."""
        # Read first, so that a newer change of the shown values is a conflict.
        version = version_of(self.row_kind, row.pk)
        preview = preview_undo(self.row_kind, row.key, change)
        self._require_undo(request, row, preview)
        plan = plan_change(self.row_kind, row, preview)
        typed = _text_to_type(row, preview, plan)
        needs_reason = conf.require_reason and not _turns_off(preview)
        problems = problems_of(request, typed, needs_reason=needs_reason)
        needs_page = needs_reason or preview.new is None or _is_widening(plan)
        if request.method == "POST" and not problems and (problems is not None or not needs_page):
            return self._undo(request, row, change, preview, plan)
        if preview.new == {}:
            self._report(request, row, preview, "")
            return HttpResponseRedirect(request.path)
        context = {
            "title": _("Undo a change"),
            "flagstaff_question": _("Undo this change of “%(key)s”?") % {"key": row.key},
            "flagstaff_version": version_text(version),
            "flagstaff_button": _UNDO,
            "flagstaff_target": str(change),
            "flagstaff_label": _("Undo"),
            "flagstaff_needs_reason": needs_reason,
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
        }
        return self._ask(request, row, preview, plan, context)

    def _undo(
        self,
        request: HttpRequest,
        row: Row,
        change: int,
        preview: changes.Changed,
        plan: ChangePlan | None,
    ) -> HttpResponse:
        with transaction.atomic(using=conf.database):
            changed = UNDO_BY_KIND[self.row_kind](
                row.key, change, expect_version=posted_version(request)
            )
            # Checked again: another change may have been written since the page was shown.
            if changed.written:
                self._require_undo(request, row, changed)
        if changed.new != preview.new:
            plan = plan_change(self.row_kind, row, changed)
        self._report(request, row, changed, undone_text(request, changed), plan)
        if _has_new_unit(changed):
            self.message_user(request, reassigned_text(), messages.WARNING)
        return HttpResponseRedirect(self.next_url(request, row))

    def _require_undo(self, request: HttpRequest, row: Row, changed: changes.Changed) -> None:
        """Raises PermissionDenied. To undo a creation is to delete."""
        if not may_write(self, request, write_of(changed), row):
            raise PermissionDenied
        require_release(self.admin_site, request, [(self.row_kind, changed)])

    def _restore(self, request: HttpRequest, row: Row, to: int) -> HttpResponse:
        """Restores an earlier state, after a confirmation page."""
        typed = row.key if conf.is_production else ""
        problems = problems_of(request, typed)
        if problems is None or problems:
            return self._preview_restore(request, row, to, typed, problems)
        with transaction.atomic(using=conf.database):
            changed = RESTORE_BY_KIND[self.row_kind](
                row.key, to=to, expect_version=posted_version(request)
            )
            require_release(self.admin_site, request, [(self.row_kind, changed)])
        text = _("“%(key)s” was restored: %(change)s.") % change_texts(request, changed)
        self._report(request, row, changed, text, plan_change(self.row_kind, row, changed))
        return HttpResponseRedirect(self.next_url(request, row))

    def _preview_restore(
        self, request: HttpRequest, row: Row, to: int, typed: str, problems: list[str] | None
    ) -> HttpResponse:
        preview = preview_restore(self.row_kind, row.key, to)
        require_release(self.admin_site, request, [(self.row_kind, preview)])
        if not preview.new:
            self._report(request, row, preview, "")
            return HttpResponseRedirect(request.path)
        at = entries(self.row_kind, row.pk).values_list("at", flat=True).get(id=to)
        question = _(
            "Restore “%(key)s” to its state after the change of %(time)s? "
            "This reverts all later changes of these fields."
        )
        if BUCKET_BY in preview.new:
            question = f"{question} {_('This reassigns every user at once.')}"
        context = {
            "title": _("Restore an earlier state"),
            "flagstaff_question": question % {"key": row.key, "time": local_time_text(at)},
            "flagstaff_version": version_text(preview.version),
            "flagstaff_button": _RESTORE,
            "flagstaff_target": str(to),
            "flagstaff_label": _("Restore"),
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
        }
        return self._ask(request, row, preview, plan_change(self.row_kind, row, preview), context)

    def _ask(
        self,
        request: HttpRequest,
        row: Row,
        preview: changes.Changed,
        plan: ChangePlan | None,
        context: Mapping[str, object],
    ) -> HttpResponse:
        note = plan_text(plan)
        is_deleted = preview.new is None
        page = {
            "flagstaff_rows": [
                *([] if is_deleted else preview_rows(request, self.row_kind, row, preview)),
                *segment_rows(self.admin_site, request, plan),
            ],
            "flagstaff_notes": [
                *([note] if note else []),
                *([_("“%(key)s” will be deleted.") % {"key": row.key}] if is_deleted else []),
            ],
            "flagstaff_back": request.path,
            **context,
        }
        return self.confirmation(request, row, page)

    def _report(
        self,
        request: HttpRequest,
        row: Row,
        changed: changes.Changed,
        text: str,
        plan: ChangePlan | None = None,
    ) -> None:
        if not changed.written:
            text = _("Nothing was changed: “%(key)s” already has these values.") % {"key": row.key}
            self.message_user(request, text, messages.WARNING)
            return
        text += skipped_text(changed.missing)
        self.log_change(request, row, text)
        self.report_change(request, changed, text, users=plan_text(plan))


def _text_to_type(row: Row, preview: changes.Changed, plan: ChangePlan | None) -> str:
    """What a person has to type before an undo."""
    if preview.new is None:
        return row.key if conf.is_production else ""
    return "" if plan is None else plan.text_to_type


def _is_widening(plan: ChangePlan | None) -> bool:
    return plan is not None and plan.consequence >= Consequence.WIDENS


def _turns_off(changed: changes.Changed) -> bool:
    """Whether a change only disables a flag, which never needs a reason."""
    return bool(changed.new == {"enabled": False})


def _has_new_unit(changed: changes.Changed) -> bool:
    """Whether the bucketing unit of an existing flag was written."""
    is_update = not changed.field and changed.old is not None and changed.new is not None
    return changed.written and is_update and BUCKET_BY in changed.new
