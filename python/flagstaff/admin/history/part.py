"""The history of a flag, a value or a segment in the admin, with links to undo and restore."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.rows import Row
from flagstaff._words.text import is_storable
from flagstaff.admin.confirmation import parse_version
from flagstaff.admin.history.event_cells import csv_response, missing_text, without_hidden_users
from flagstaff.admin.history.restore import restore_page
from flagstaff.admin.history.undo_buttons import right_to_undo, rows_with_buttons
from flagstaff.admin.part import Part
from flagstaff.admin.recent_changes.urls import RESTORE, key_url, restore_url
from flagstaff.admin.rights import may, may_see
from flagstaff.history.log import Change, Event, events, has_history, newest_version

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
            entries = Change.objects.of_row(self.admin.row_kind, row.pk).in_batches()
            return csv_response(without_hidden_users(request, events(entries)), "history.csv")
        response.context_data = {**context, **self._context(request, row, before)}
        return response

    def _of_deleted(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The page with the history of a deleted row; None if there was no such row."""
        kind, pk = self.admin.row_kind, unquote(object_id)
        newest = Change.objects.of_row(kind, pk).newest().first() if is_storable(pk) else None
        site, model = self.admin.admin_site, self.admin.model
        if newest is None or not may_see(site, request, model, pk):
            return None
        url = key_url(site, kind, newest.key)
        return HttpResponseRedirect(url) if url else None

    def _context(self, request: HttpRequest, row: Row, before: int | None) -> dict[str, object]:
        site, kind = self.admin.admin_site, self.admin.row_kind
        entries = [*Change.objects.of_row(kind, row.pk).short().newest(before)[: _PAGE_SIZE + 1]]
        page, more = entries[:_PAGE_SIZE], entries[_PAGE_SIZE:]
        shown = [*without_hidden_users(request, events(page))]
        newest = page[0].pk if page and before is None else newest_version(kind, row.pk)
        # What a secret value was before its newest hidden change is not known.
        hidden = Change.objects.of_row(kind, row.pk).filter(hidden__isnull=False).newest()
        lost = hidden.values_list("id", flat=True).first() or 0 if is_secret(row) else 0
        # Asked once for each right: a class of the project may query.
        ask = cache(partial(may, site, request, row=row))
        may_change = ask("change")

        def may_undo(event: Event) -> bool:
            return event.action == "change" and ask(right_to_undo(event))

        def may_restore(event: Event) -> bool:
            is_known = newest != event.version >= lost
            return may_change and event.action != "delete" and is_known

        rows = rows_with_buttons(site, request, shown, may_undo)
        return {
            "flagstaff_events": [
                replace(line, restore_url=restore_url(site, kind, row.pk, event.version))
                if may_restore(event)
                else line
                for event, line in zip(shown, rows, strict=True)
            ],
            "flagstaff_older": str(page[-1].pk) if more else None,
            "flagstaff_missing": missing_text(),
        }


def _before(request: HttpRequest) -> int | None:
    """The version before which the page begins; None for the newest one."""
    text = request.GET.get("before", "")
    return parse_version(text) if text.isascii() and text.isdigit() else None
