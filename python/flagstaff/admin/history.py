"""The history of a flag, a value or a segment in the admin, with buttons to undo and restore."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.rows import Row, all_rows, model_of
from flagstaff._text.lists import join_some
from flagstaff._text.local_formats import local_number, local_time_text
from flagstaff.admin.bucket_units import reassigned_text
from flagstaff.admin.confirmation import (
    CONFIRMED,
    MAX_TEXT,
    ConfirmationMixin,
    describe_changed,
    parse_version,
    posted_version,
    preview_rows,
    version_text,
)
from flagstaff.admin.transactions import described_parts, may_undo, related_changes
from flagstaff.changes.restore_version import (
    RESTORE_BY_KIND,
    preview_restore,
    versions_without_value,
)
from flagstaff.changes.undo_event import UNDO_BY_KIND
from flagstaff.changes.undo_transactions import require_values
from flagstaff.conf import conf
from flagstaff.history import Event, Users, as_csv
from flagstaff.history.describe import and_more, describe_actor, describe_change, source_label
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.transactions import parts_of
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users
from flagstaff.history.versions import entries, has_history, version_of

__all__ = ["HistoryMixin"]

_PAGE_SIZE = 50
# Names of submit buttons.
_UNDO, _UNDO_ALL, _RESTORE = "_undo", "_undo_all", "_restore"

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class HistoryMixin(ConfirmationMixin, _ModelAdmin):
    """Put it before ModelAdmin, whose own history has the changes of the admin only."""

    row_kind = Kind.FLAG
    object_history_template = "flagstaff/history.html"

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The history as a page, or as CSV. A POST undoes or restores."""
        # Checks that the object exists, and that the user may view it.
        response = super().history_view(request, object_id, extra_context)
        if not (isinstance(response, TemplateResponse) and has_history()):
            return response
        row = (response.context_data or {})["object"]
        if request.method == "POST":
            return self._post(request, row)
        if request.GET.get("format") == "csv":
            return _csv_response(self._events(request, row, None, shorten=False))
        response.context_data = {**(response.context_data or {}), **self._context(request, row)}
        return response

    def _context(self, request: HttpRequest, row: Row) -> dict[str, object]:
        events = self._events(request, row, _PAGE_SIZE + 1, shorten=True)
        shown, more = events[:_PAGE_SIZE], events[_PAGE_SIZE:]
        actors = names_of_actors(shown)
        users = names_of_users(shown) if may_see_users(request.user) else None
        version = version_of(self.row_kind, row.pk)
        related = related_changes(self.admin_site, request, shown)
        may_change = self.has_change_permission(request, row)
        versions = {event.version for event in shown} if may_change else set()
        lost = set()
        if self.row_kind is Kind.VALUE and versions:
            before = {event.first - 1 for event in shown}
            lost = versions_without_value(row, versions | before)
        return {
            "flagstaff_events": [
                {
                    "event": event,
                    "version": str(event.version),
                    "time": local_time_text(event.at),
                    "actor": describe_actor(event, actors),
                    "source": source_label(event.source),
                    "change": describe_change(event, users, limit=MAX_TEXT),
                    "related": related.get(event.version),
                    "may_undo": event.action == "change" and not _is_lost(event, lost),
                    "may_restore": event.version not in {version, *lost}
                    and event.action != "delete",
                }
                for event in shown
            ],
            "flagstaff_older": str(shown[-1].version) if more else None,
            "flagstaff_version": version_text(version),
            "flagstaff_may_change": may_change,
        }

    def _events(
        self, request: HttpRequest, row: Row, limit: int | None, *, shorten: bool
    ) -> list[Event]:
        before = request.GET.get("before", "")
        older_than = parse_version(before) if before.isascii() and before.isdigit() else None
        events = events_of(self.row_kind, row.pk, before=older_than, limit=limit, shorten=shorten)
        return (
            events if may_see_users(request.user) else [_without_users(event) for event in events]
        )

    def _post(self, request: HttpRequest, row: Row) -> HttpResponse:
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        expect_version = posted_version(request)
        if _UNDO_ALL in request.POST:
            return self._undo_all(request, row, parse_version(request.POST[_UNDO_ALL]))
        if _UNDO in request.POST:
            changed = self._undo(request, row, parse_version(request.POST[_UNDO]), expect_version)
            self._report(request, row, changed, _undone(request, changed))
            if _has_new_unit(changed):
                self.message_user(request, reassigned_text(), messages.WARNING)
        else:
            to = parse_version(request.POST.get(_RESTORE))
            if CONFIRMED not in request.POST:
                return self._preview_restore(request, row, to)
            changed = RESTORE_BY_KIND[self.row_kind](row.key, to=to, expect_version=expect_version)
            text = _("“%(key)s” was restored: %(change)s.") % _texts(request, changed)
            self._report(request, row, changed, text)
        return HttpResponseRedirect(self._next_url(request, row))

    def _undo(
        self, request: HttpRequest, row: Row, change: int, expect_version: int | None
    ) -> changes.Changed:
        """Undoes one change. To undo a creation is to delete."""
        may_delete = self.has_delete_permission(request, row)
        with transaction.atomic(using=conf.database):
            changed = UNDO_BY_KIND[self.row_kind](row.key, change, expect_version=expect_version)
            # Checked afterwards: any entry of the creation stands for all of it.
            if changed.written and changed.new is None and not may_delete:
                raise PermissionDenied
        return changed

    def _preview_restore(self, request: HttpRequest, row: Row, to: int) -> HttpResponse:
        """Asks for a confirmation, unless there is nothing to restore."""
        planned = preview_restore(self.row_kind, row.key, to)
        if not planned.new:
            self._report(request, row, planned, "")
            return HttpResponseRedirect(request.path)
        at = entries(self.row_kind, row.pk).values_list("at", flat=True).get(id=to)
        question = _(
            "Restore “%(key)s” to its state after the change of %(time)s? "
            "This reverts all later changes of these fields."
        )
        if BUCKET_BY in planned.new:
            question = f"{question} {_('This reassigns every user at once.')}"
        context = {
            "title": _("Restore an earlier state"),
            "flagstaff_question": question % {"key": row.key, "time": local_time_text(at)},
            "flagstaff_rows": preview_rows(request, self.row_kind, row, planned),
            "flagstaff_version": version_text(planned.version),
            "flagstaff_button": _RESTORE,
            "flagstaff_target": str(to),
            "flagstaff_label": _("Restore"),
        }
        return self.confirmation(request, row, context)

    def _undo_all(self, request: HttpRequest, row: Row, change: int) -> HttpResponse:
        """Undoes the whole transaction of a change of this row, after a confirmation page."""
        parts = parts_of(change)
        if (self.row_kind, str(row.pk)) not in [(part.kind, part.pk) for part in parts]:
            raise Http404
        if not may_undo(self.admin_site, request, parts):
            raise PermissionDenied
        if CONFIRMED not in request.POST:
            require_values(parts)
            with_users = may_see_users(request.user)
            label = ngettext("Undo all %(count)s", "Undo all %(count)s", len(parts))
            context = {
                "title": _("Undo all changes of a transaction"),
                "flagstaff_parts": described_parts(parts, with_users=with_users, limit=MAX_TEXT),
                "flagstaff_version": None,
                "flagstaff_button": _UNDO_ALL,
                "flagstaff_target": str(change),
                "flagstaff_label": label % {"count": local_number(len(parts))},
            }
            page = self.confirmation(request, row, context)
            page.template_name = "flagstaff/undo_all.html"
            return page
        done = changes.undo_transaction(change)
        for changed in done:
            if changed.written and changed.key == row.key:
                self.log_change(request, row, _undone(request, changed))
        self._report_all(request, done)
        return HttpResponseRedirect(self._next_url(request, row))

    def _report(self, request: HttpRequest, row: Row, changed: changes.Changed, text: str) -> None:
        if not changed.written:
            text = _("“%(key)s” already has these values. Nothing was changed.") % {"key": row.key}
            self.message_user(request, text, messages.WARNING)
            return
        text += _skipped(changed.missing)
        self.log_change(request, row, text)
        self.message_user(request, text, messages.SUCCESS)

    def _report_all(self, request: HttpRequest, done: list[changes.Changed]) -> None:
        keys = [changed.key for changed in done if changed.written]
        if not keys:
            self.message_user(request, _("Nothing to undo."), messages.WARNING)
            return
        shown = join_some((f"“{key}”" for key in keys), more=and_more)
        text = _("Undone: %(keys)s.") % {"keys": shown}
        missing = {pk for changed in done for pk in changed.missing}
        self.message_user(request, text + _skipped(missing), messages.SUCCESS)

    def _next_url(self, request: HttpRequest, row: Row) -> str:
        """The same page, or the list if the row is deleted."""
        if all_rows(model_of(row)).filter(pk=row.pk).exists():
            return request.path
        meta = self.opts
        name = f"{self.admin_site.name}:{meta.app_label}_{meta.model_name}_changelist"
        return reverse(name)


def _has_new_unit(changed: changes.Changed) -> bool:
    """Whether the bucketing unit of an existing flag was written."""
    is_update = not changed.field and changed.old is not None and changed.new is not None
    return changed.written and is_update and BUCKET_BY in changed.new


def _undone(request: HttpRequest, changed: changes.Changed) -> str:
    if changed.new is None:  # the change was the creation
        return _("“%(key)s” was deleted.") % {"key": changed.key}
    return _("The change of “%(key)s” was undone: %(change)s.") % _texts(request, changed)


def _texts(request: HttpRequest, changed: changes.Changed) -> dict[str, str]:
    return {"key": changed.key, "change": describe_changed(request, changed)}


def _skipped(missing: Collection[object]) -> str:
    if not (count := len(missing)):
        return ""
    text = ngettext(
        "%(count)s user no longer exists and was skipped.",
        "%(count)s users no longer exist and were skipped.",
        count,
    )
    return f" {text % {'count': local_number(count)}}"


def _csv_response(events: list[Event]) -> HttpResponse:
    response = HttpResponse(as_csv(events), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="history.csv"'
    return response


def _without_users(event: Event) -> Event:
    """The event with the number of added and removed users, without their primary keys."""
    return replace(event, added=Users(event.added.count), removed=Users(event.removed.count))


def _is_lost(event: Event, lost: Collection[int]) -> bool:
    """Whether an undo would need a value that the history cannot give back.

    `lost` are the versions without a value, among them those before the events.
    """
    return any(
        one.secret or (one.field == "value" and event.first - 1 in lost)
        for one in event.differences
    )
