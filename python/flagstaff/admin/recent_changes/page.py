"""The page of recent changes of flags, values and segments, and its CSV."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from flagstaff._words.times import aware
from flagstaff.admin.confirmation import parse_version
from flagstaff.admin.fallbacks import can_read, hidden_kinds
from flagstaff.admin.history.event_cells import (
    EventRow,
    csv_response,
    missing_text,
    without_hidden_users,
)
from flagstaff.admin.recent_changes.filters import KIND_LABELS, Filters, filters_of
from flagstaff.admin.recent_changes.rows import other_kinds, other_rows, rows_of
from flagstaff.admin.recent_changes.urls import (
    BACK,
    UNDO_EVENTS,
    UNDO_TRANSACTION,
    list_url,
    undo_url,
)
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.admin.table import Page
from flagstaff.admin.undo.page import UndoPage
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, ChangeQuerySet, events
from flagstaff.history.user_names import may_see_users

_PAGE_SIZE = 50
# Events of optional apps between the first and the last change of a page.
_MAX_OTHERS = 500
_UNDO_PAGES = {UNDO_TRANSACTION, UNDO_EVENTS}


class RecentChanges(Page):
    """One page: users who may view flags, values or segments see their changes."""

    docs_page = "how-to/history/"
    template = "flagstaff/recent_changes/page.html"
    stylesheets = ("admin", "lists", "recent_changes", "console")

    def post(self) -> HttpResponse:
        """Undoes what the URL names, after a confirmation."""
        if _UNDO_PAGES.isdisjoint(self.request.GET):
            raise PermissionDenied
        return UndoPage(self.admin).answer(self.request)

    def get(self) -> HttpResponse:
        """The page, the page that undoes what the URL names, or the CSV."""
        request = self.request
        if not can_read(request, "change_table"):
            return self.show(self._context())
        if not _UNDO_PAGES.isdisjoint(request.GET):
            return UndoPage(self.admin).answer(request)
        if BACK in request.GET:
            self.admin.message_user(
                request, _("First select the changes that you want to undo."), messages.WARNING
            )
            return HttpResponseRedirect(list_url(self.site, request))
        is_csv = request.GET.get("format") == "csv"
        return cast("HttpResponse", self._csv()) if is_csv else self.show(self._context())

    def _context(self) -> Mapping[str, object]:
        """The rows of a page, and the filters."""
        request = self.request
        filters = filters_of(request.GET, may_see_users=may_see_users(request.user))
        kinds = viewable_kinds(self.site, request)
        labels = {kind.value: str(KIND_LABELS[kind]) for kind in kinds} | other_kinds()
        context = {
            "filters": filters,
            "strip": filters.strip(labels),
            "back_name": BACK,
            "undo_name": UNDO_EVENTS,
        }
        if not can_read(request, "change_table"):
            text = _("There is no history: it needs PostgreSQL and “manage.py migrate”.")
            return {**context, "unavailable": text}
        if filters.problems:
            return context
        readable = readable_kinds(self.site, request)
        rows, older = self._rows(filters, readable)
        versions = [int(row.version) for row in rows if row.is_one_of_all]
        return {
            **context,
            "rows": rows,
            "older": older,
            "missing": missing_text(),
            "unreadable": [str(KIND_LABELS[kind]) for kind in kinds if kind not in readable],
            "may_undo": any(row.may_select for row in rows),
            "undo_shown_url": undo_url(self.site, versions, filters.query)
            if filters.is_narrow and len(versions) > 1
            else "",
            "undo_shown_count": len(versions),
        }

    def _rows(self, filters: Filters, kinds: list[Kind]) -> tuple[list[EventRow], str]:
        """The rows of a page, and where the next one begins."""
        request = self.request
        version, until = _before(request)
        entries: list[Change] = []
        if kinds and until is None:
            entries_shown = shown_entries(self.site, request, filters, kinds)
            newest = entries_shown.short().newest(version, few=filters.is_short)
            entries = [*newest[: _PAGE_SIZE + 1]]
        page, more = entries[:_PAGE_SIZE], entries[_PAGE_SIZE:]
        shown = [*without_hidden_users(request, events(page))]
        rows = rows_of(self.site, request, shown, filters.query)
        # The events of the apps between the first and the last change of the page.
        if version is not None:
            until = Change.objects.filter(pk=version).values_list("at", flat=True).first()
        since = page[-1].at if more else None
        of_page = replace(
            filters,
            since=max(map(aware, filter(None, (since, filters.since))), default=None),
            until=min(map(aware, filter(None, (until, filters.until))), default=None),
        )
        limit = _MAX_OTHERS if more else _PAGE_SIZE
        others = other_rows(self.site, request, of_page, limit)
        older = str(page[-1].pk) if more else ""
        if not more and len(others) >= _PAGE_SIZE:
            # After the oldest change, the next pages have only events of the apps.
            older = aware(others[-1].at).isoformat()
        return sorted([*rows, *others], key=lambda row: aware(row.at), reverse=True), older

    def _csv(self) -> HttpResponseBase:
        request = self.request
        filters = filters_of(request.GET, may_see_users=may_see_users(request.user))
        entries: Iterator[Change] = iter(())
        if not filters.problems:
            site = self.site
            found = shown_entries(site, request, filters, readable_kinds(site, request))
            entries = found.in_batches(few=filters.is_short)
        return csv_response(without_hidden_users(request, events(entries)), "recent-changes.csv")


def readable_kinds(site: admin.AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see and the role may read. Queries as can_read."""
    hidden = hidden_kinds(request)
    return [kind for kind in viewable_kinds(site, request) if kind not in hidden]


def viewable_kinds(site: admin.AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see. Without an admin, the permission decides."""
    return [kind for kind in Kind if may(site, request, "view", kind.model)]


def shown_entries(
    site: admin.AdminSite, request: HttpRequest, filters: Filters, kinds: Collection[Kind]
) -> ChangeQuerySet:
    """Returns the entries that meet the filters, without those about hidden rows."""
    entries = filters.entries(kinds)
    for kind in kinds:
        if hidden := hidden_rows(site, request, kind.model):
            entries = entries.exclude(relation__in=kind.relations, object_pk__in=[*hidden])
    return entries


def _before(request: HttpRequest) -> tuple[int | None, datetime | None]:
    """The version or the time before which the page begins."""
    text = request.GET.get("before", "")
    if text.isascii() and text.isdigit():
        return parse_version(text), None
    try:
        return None, parse_datetime(text)
    except ValueError:
        return None, None
