"""The page of recent changes of flags, values and segments, and its CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from flagstaff._words.times import aware
from flagstaff.admin.confirmation import ConfirmationMixin
from flagstaff.admin.history.event_cells import csv_response, without_users
from flagstaff.admin.history.texts import missing_text
from flagstaff.admin.links import admin_of
from flagstaff.admin.permissions import may
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.recent_changes.filters import KIND_LABELS, Filters, choices, filters_of
from flagstaff.admin.recent_changes.rows import Row, other_kinds, other_rows, rows_of
from flagstaff.admin.recent_changes.urls import BACK, UNDO_EVENTS, UNDO_TRANSACTION, undo_url
from flagstaff.admin.reports import ReportMixin
from flagstaff.admin.undo.page import UndoPage, list_url
from flagstaff.history import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.recent import read_recent, unreadable_kinds
from flagstaff.history.user_names import may_see_users
from flagstaff.history.versions import all_entries, has_history

_PAGE_SIZE = 50
# Events of optional apps between the first and the last change of a page.
_MAX_OTHERS = 500
_BEFORE, _FORMAT = "before", "format"
_UNDO_PAGES = {UNDO_TRANSACTION, UNDO_EVENTS}
_OTHER_PAGES = {*_UNDO_PAGES, BACK, _FORMAT}
# The digits of the largest version.
_MAX_DIGITS = 19


class RecentChangesAdmin(ConfirmationMixin, ReportMixin, PlainPageAdmin):
    """One page: users who may view flags, values or segments see their changes."""

    page_template = "flagstaff/recent_changes/page.html"

    class Media:
        css = {
            "all": ("flagstaff/admin.css", "flagstaff/lists.css", "flagstaff/recent_changes.css")
        }

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index of the admin lists the page."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may view flags, values or segments."""
        return bool(viewable_kinds(self.admin_site, request))

    def post_page(self, request: HttpRequest) -> HttpResponse:
        """Undoes what the URL names, after a confirmation."""
        if _UNDO_PAGES.isdisjoint(request.GET):
            raise PermissionDenied
        return UndoPage(self).answer(request)

    def other_page(self, request: HttpRequest) -> HttpResponseBase | None:
        """The page that undoes what the URL names, or the CSV."""
        if _OTHER_PAGES.isdisjoint(request.GET) or not has_history():
            return None
        if not _UNDO_PAGES.isdisjoint(request.GET):
            return UndoPage(self).answer(request)
        if BACK in request.GET:
            self.message_user(
                request, _("First select the changes that you want to undo."), messages.WARNING
            )
            return HttpResponseRedirect(list_url(self.admin_site, request))
        return self._csv(request) if request.GET.get(_FORMAT) == "csv" else None

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The rows of a page, and the filters."""
        filters = filters_of(request.GET, may_see_users=may_see_users(request.user))
        kinds = viewable_kinds(self.admin_site, request)
        labels = {kind.value: str(KIND_LABELS[kind]) for kind in kinds} | other_kinds()
        context = {
            "filters": filters,
            "choices": choices(filters, labels),
            "back_name": BACK,
            "undo_name": UNDO_EVENTS,
        }
        if not has_history():
            text = _("There is no history: it needs PostgreSQL and “manage.py migrate”.")
            return {**context, "unavailable": text}
        if filters.problems:
            return context
        hidden = unreadable_kinds()
        readable = [kind for kind in kinds if kind not in hidden]
        rows, older = self._rows(request, filters, readable)
        versions = [row.version for row in rows if row.undo_url]
        return {
            **context,
            "rows": rows,
            "older": older,
            "missing": missing_text(),
            "unreadable": [str(KIND_LABELS[kind]) for kind in kinds if kind in hidden],
            "may_undo": bool(versions),
            "undo_shown_url": undo_url(self.admin_site, map(int, versions), filters.query)
            if filters.is_narrow and len(versions) > 1
            else "",
            "undo_shown_count": len(versions),
        }

    def _rows(
        self, request: HttpRequest, filters: Filters, kinds: list[Kind]
    ) -> tuple[list[Row], str]:
        """The rows of a page, and where the next one begins."""
        version, until = _before(request)
        selection = filters.selection(kinds)
        events: list[Event] = []
        if selection.kinds and until is None:
            newest_first = read_recent(selection, _PAGE_SIZE + 1, before=version, shorten=True)
            events = list(islice(newest_first, _PAGE_SIZE + 1))
        page_events, more = events[:_PAGE_SIZE], events[_PAGE_SIZE:]
        if not may_see_users(request.user):
            page_events = [without_users(event) for event in page_events]
        rows = rows_of(self.admin_site, request, page_events, filters.query)
        oldest = page_events[-1].at if more else None
        newest = until or (None if version is None else _time_of(version))
        limit = _MAX_OTHERS if more else _PAGE_SIZE
        other_events = other_rows(self.admin_site, request, filters, oldest, newest, limit)
        older = str(page_events[-1].version) if more else ""
        if not more and len(other_events) >= _PAGE_SIZE:
            # After the oldest change, the next pages have only events of the apps.
            older = aware(other_events[-1].at).isoformat()
        merged = sorted([*rows, *other_events], key=lambda row: aware(row.at), reverse=True)
        return merged, older

    def _csv(self, request: HttpRequest) -> HttpResponseBase:
        filters = filters_of(request.GET, may_see_users=may_see_users(request.user))
        events: Iterator[Event] = iter(())
        if not filters.problems:
            hidden = unreadable_kinds()
            viewable = viewable_kinds(self.admin_site, request)
            selection = filters.selection([kind for kind in viewable if kind not in hidden])
            events = read_recent(selection, all_users=True)
        if not may_see_users(request.user):
            events = map(without_users, events)
        return csv_response(events, "recent-changes.csv")


def viewable_kinds(site: admin.AdminSite, request: HttpRequest) -> list[Kind]:
    """Returns the kinds whose rows the user may see. Without an admin, the permission decides."""
    return [kind for kind in Kind if _may_view(site, request, kind)]


def _may_view(site: admin.AdminSite, request: HttpRequest, kind: Kind) -> bool:
    if kind is Kind.FLAG:
        return may(site, request, "view")
    model_admin = admin_of(site, kind.model)
    if model_admin is not None:
        return model_admin.has_view_permission(request)
    meta = kind.model._meta
    return any(
        request.user.has_perm(f"{meta.app_label}.{action}_{meta.model_name}")
        for action in ("view", "change")
    )


def _before(request: HttpRequest) -> tuple[int | None, datetime | None]:
    """The version or the time before which the page begins."""
    text = request.GET.get(_BEFORE, "")
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text), None
    try:
        return None, parse_datetime(text)
    except ValueError:
        return None, None


def _time_of(version: int) -> datetime | None:
    return all_entries().filter(pk=version).values_list("at", flat=True).first()
