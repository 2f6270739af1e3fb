"""The history of a flag, a value or a segment in the admin, with links to undo and restore."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse

from flagstaff._tables.rows import Row
from flagstaff._words.storable import is_storable
from flagstaff.admin.confirmation import parse_version
from flagstaff.admin.history.event_cells import csv_response, event_cells, visible_events
from flagstaff.admin.history.restore import restore_page
from flagstaff.admin.history.texts import missing_text
from flagstaff.admin.history.transactions import related_changes
from flagstaff.admin.part import Part
from flagstaff.admin.recent_changes.urls import RESTORE, key_url, restore_url, undo_url
from flagstaff.admin.undo.permissions import may_write, write_to_undo
from flagstaff.changes.lost_values import versions_without_value
from flagstaff.history import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries, has_history, version_of

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
        row = (response.context_data or {})["object"]
        if RESTORE in request.GET:
            return restore_page(self.admin, request, row, parse_version(request.GET[RESTORE]))
        if request.GET.get("format") == "csv":
            events = self._events(request, row, None, shorten=False)
            return csv_response(events, "history.csv")
        response.context_data = {**(response.context_data or {}), **self._context(request, row)}
        return response

    def _of_deleted(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The page with the history of a deleted row; None if there was no such row."""
        pk = unquote(object_id)
        newest = (
            entries(self.admin.row_kind, pk).order_by("-id").first() if is_storable(pk) else None
        )
        if newest is None or not self.admin.has_view_permission(request):
            return None
        url = key_url(self.admin.admin_site, self.admin.row_kind, newest.key)
        return HttpResponseRedirect(url) if url else None

    def _context(self, request: HttpRequest, row: Row) -> dict[str, object]:
        events = list(self._events(request, row, _PAGE_SIZE + 1, shorten=True))
        page_events, more = events[:_PAGE_SIZE], events[_PAGE_SIZE:]
        site, kind = self.admin.admin_site, self.admin.row_kind
        version = version_of(kind, row.pk)
        related = related_changes(site, request, page_events)
        may_change = self.admin.has_change_permission(request, row)
        may_toggle = may_write(self.admin, request, "toggle", row)
        versions = {event.version for event in page_events} if may_change else set()
        lost = set()
        if kind is Kind.VALUE and versions:
            before = {event.first - 1 for event in page_events}
            lost = versions_without_value(row, versions | before)
        return {
            "flagstaff_events": [
                {
                    **cells,
                    "related": related.get(event.version),
                    "undo_url": undo_url(site, [event.version])
                    if event.action == "change"
                    and not _is_lost(event, lost)
                    and (may_change or (may_toggle and write_to_undo(event) == "toggle"))
                    else "",
                    "restore_url": restore_url(site, kind, event.object_pk, event.version)
                    if may_change
                    and event.version not in {version, *lost}
                    and event.action != "delete"
                    else "",
                }
                for event, cells in zip(page_events, event_cells(request, page_events), strict=True)
            ],
            "flagstaff_older": str(page_events[-1].version) if more else None,
            "flagstaff_missing": missing_text(),
            "flagstaff_may_change": may_toggle,
        }

    def _events(
        self, request: HttpRequest, row: Row, limit: int | None, *, shorten: bool
    ) -> Iterator[Event]:
        before = request.GET.get("before", "")
        older_than = parse_version(before) if before.isascii() and before.isdigit() else None
        return visible_events(
            request, self.admin.row_kind, row.pk, before=older_than, limit=limit, shorten=shorten
        )


def _is_lost(event: Event, lost: Collection[int]) -> bool:
    """Whether an undo would need a value that the history cannot give back.

    `lost` are the versions without a value, among them those before the events.
    """
    return any(
        difference.secret or (difference.field == "value" and event.first - 1 in lost)
        for difference in event.differences
    )
