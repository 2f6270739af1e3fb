"""The history of a flag, a value or a segment in the admin, with links to undo and restore."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse

from flagstaff._tables.rows import Row
from flagstaff._words.text import is_storable
from flagstaff.admin.confirmation import parse_version
from flagstaff.admin.history.event_cells import csv_response, missing_text, visible_events
from flagstaff.admin.history.restore import restore_page
from flagstaff.admin.history.undo_buttons import rows_with_buttons
from flagstaff.admin.part import Part
from flagstaff.admin.recent_changes.urls import RESTORE, key_url, restore_url
from flagstaff.admin.undo.permissions import may_write, write_to_undo
from flagstaff.changes.lost_values import versions_without_value
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, has_history, newest_version

_PAGE_SIZE = 50


class History(Part):
    """The history with its links. Django's own has the changes of the admin only."""

    def history_response(
        self, request: HttpRequest, object_id: str, response: HttpResponse
    ) -> HttpResponseBase:
        """The history as a page, or as CSV, or the page that restores."""
        if not has_history():
            return response
        if not isinstance(response, TemplateResponse):
            return self._of_deleted(request, object_id) or response
        context = response.context_data or {}
        row = context["object"]
        if RESTORE in request.GET:
            return restore_page(self.admin, request, row, parse_version(request.GET[RESTORE]))
        before = _before(request)
        if request.GET.get("format") == "csv":
            events = visible_events(request, self.admin.row_kind, row.pk, before=before)
            return csv_response(events, "history.csv")
        response.context_data = {**context, **self._context(request, row, before)}
        return response

    def _of_deleted(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The page with the history of a deleted row; None if there was no such row."""
        kind, pk = self.admin.row_kind, unquote(object_id)
        newest = (
            Change.objects.of_row(kind, pk).order_by("-id").first() if is_storable(pk) else None
        )
        if newest is None or not self.admin.has_view_permission(request):
            return None
        url = key_url(self.admin.admin_site, kind, newest.key)
        return HttpResponseRedirect(url) if url else None

    def _context(self, request: HttpRequest, row: Row, before: int | None) -> dict[str, object]:
        site, kind = self.admin.admin_site, self.admin.row_kind
        limit = _PAGE_SIZE + 1
        events = [*visible_events(request, kind, row.pk, before=before, limit=limit)]
        page_events, more = events[:_PAGE_SIZE], events[_PAGE_SIZE:]
        newest = events[0].version if events and before is None else newest_version(kind, row.pk)
        may_change = self.admin.has_change_permission(request, row)
        may_toggle = may_write(self.admin, request, "toggle", row)
        lost: set[int] = set()
        if kind is Kind.VALUE and may_change:
            lost = versions_without_value(
                row, {pk for event in page_events for pk in (event.version, event.first - 1)}
            )

        def may_undo(event: Event) -> bool:
            may = may_change or (may_toggle and write_to_undo(event) == "toggle")
            return may and event.action == "change" and not _is_lost(event, lost)

        def may_restore(event: Event) -> bool:
            return may_change and event.action != "delete" and event.version not in {newest, *lost}

        rows = rows_with_buttons(site, request, page_events, may_undo, are_newest=before is None)
        return {
            "flagstaff_events": [
                replace(shown, restore_url=restore_url(site, kind, row.pk, event.version))
                if may_restore(event)
                else shown
                for event, shown in zip(page_events, rows, strict=True)
            ],
            "flagstaff_older": str(page_events[-1].version) if more else None,
            "flagstaff_missing": missing_text(),
        }


def _before(request: HttpRequest) -> int | None:
    """The version before which the page begins; None for the newest one."""
    text = request.GET.get("before", "")
    return parse_version(text) if text.isascii() and text.isdigit() else None


def _is_lost(event: Event, lost: Collection[int]) -> bool:
    """Whether an undo would need a value that the history cannot give back.

    `lost` are the versions without a value, among them those before the events.
    """
    return any(
        difference.secret or (difference.field == "value" and event.first - 1 in lost)
        for difference in event.differences
    )
