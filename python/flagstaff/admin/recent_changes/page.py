"""The page of recent changes of flags, values and segments, and its CSV."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from flagstaff._text.times import aware
from flagstaff.admin.environment import EnvironmentMixin
from flagstaff.admin.event_cells import without_users
from flagstaff.admin.flag_permissions import may
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.recent_changes.filters import KIND_LABELS, Filters, choices, filters_of
from flagstaff.admin.recent_changes.others import other_kinds, other_rows
from flagstaff.admin.recent_changes.rows import Row, rows_of
from flagstaff.admin.recent_changes.transaction import TransactionMixin
from flagstaff.admin.recent_changes.urls import BACK, UNDO_EVENTS, UNDO_TRANSACTION, undo_url
from flagstaff.conf import conf
from flagstaff.history import Event
from flagstaff.history.export import csv_lines
from flagstaff.history.kinds import Kind
from flagstaff.history.recent import read_recent, unreadable_kinds
from flagstaff.history.user_names import may_see_users
from flagstaff.history.versions import all_entries, has_history
from flagstaff.models import RecentChange

__all__ = ["RecentChangesAdmin"]

_PAGE_SIZE = 50
_BEFORE = "before"
# The digits of the largest version.
_MAX_DIGITS = 19

if TYPE_CHECKING:
    from datetime import datetime

    _ModelAdmin = admin.ModelAdmin[RecentChange]
else:
    _ModelAdmin = admin.ModelAdmin


class _PageMixin(TransactionMixin, _ModelAdmin):
    """The page in the place of a list."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, its CSV, or a page that undoes some of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if has_history():
            if UNDO_TRANSACTION in request.GET:
                return self.transaction_page(request)
            if UNDO_EVENTS in request.GET:
                return self.undo_page(request)
            if BACK in request.GET:
                self.message_user(request, _("Select the changes to undo first."), messages.WARNING)
                return HttpResponseRedirect(self._list_url(request))
            if request.GET.get("format") == "csv":
                return cast("HttpResponse", self._csv(request))
        site = self.admin_site
        context = {
            **site.each_context(request),
            **(extra_context or {}),
            **self._context(request),
            "title": _("Recent changes"),
            "opts": self.opts,
            "media": self.media,
        }
        request.current_app = site.name
        return TemplateResponse(request, "flagstaff/recent_changes/page.html", context)

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        filters = filters_of(request.GET)
        kinds = _viewable(self.admin_site, request)
        labels = {kind.value: str(KIND_LABELS[kind]) for kind in kinds} | other_kinds()
        context = {
            "filters": filters,
            "choices": choices(filters, labels),
            "back_name": BACK,
            "undo_name": UNDO_EVENTS,
            "flags_url": page_url(self.admin_site, conf.flag_model, "changelist")
            if Kind.FLAG in kinds and admin_of(self.admin_site, conf.flag_model)
            else "",
            "flags_title": conf.flag_model._meta.verbose_name_plural,
        }
        if not has_history():
            text = _("There is no history: it needs PostgreSQL and “manage.py migrate”.")
            return {**context, "unavailable": text}
        if filters.problems:
            return context
        rows, older = self._rows(request, filters, kinds)
        versions = [row.version for row in rows if row.undo_url]
        return {
            **context,
            "rows": rows,
            "older": older,
            "unreadable": [str(KIND_LABELS[kind]) for kind in unreadable_kinds() if kind in kinds],
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
            found = read_recent(selection, _PAGE_SIZE + 1, before=version, shorten=True)
            events = list(islice(found, _PAGE_SIZE + 1))
        shown, more = events[:_PAGE_SIZE], events[_PAGE_SIZE:]
        if not may_see_users(request.user):
            shown = [without_users(event) for event in shown]
        rows = rows_of(self.admin_site, request, shown, filters.query)
        oldest = shown[-1].at if more else None
        newest = until or (None if version is None else _time_of(version))
        others = other_rows(self.admin_site, request, filters, oldest, newest)
        older = str(shown[-1].version) if more else ""
        if not rows and len(others) >= _PAGE_SIZE:
            older = aware(others[-1].at).isoformat()
        merged = sorted([*rows, *others], key=lambda row: aware(row.at), reverse=True)
        return merged, older

    def _csv(self, request: HttpRequest) -> HttpResponseBase:
        filters = filters_of(request.GET)
        events: Iterator[Event] = iter(())
        if not filters.problems:
            selection = filters.selection(_viewable(self.admin_site, request))
            events = read_recent(selection, all_users=True)
        if not may_see_users(request.user):
            events = map(without_users, events)
        # A first event is read here, so that a problem is not in the middle of the response.
        first = list(islice(events, 1))
        lines = csv_lines(chain(first, events))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="recent-changes.csv"'
        return response


class RecentChangesAdmin(EnvironmentMixin, _PageMixin, _ModelAdmin):
    """One page: users who may view flags, values or segments see their changes."""

    class Media:
        css = {
            "all": ("flagstaff/admin.css", "flagstaff/lists.css", "flagstaff/recent_changes.css")
        }

    def get_urls(self) -> list[URLPattern]:
        """The page, and nothing else."""
        meta = self.opts
        view = self.admin_site.admin_view(self.changelist_view)
        name = f"{meta.app_label}_{meta.model_name}_changelist"
        return [path("", cast("Any", view), name=name)]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index of the admin lists the page."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may view flags, values or segments."""
        return bool(_viewable(self.admin_site, request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: triggers write the history."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: an undo asks for the permission for the row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: `prune` deletes old entries."""
        return False


def _viewable(site: admin.AdminSite, request: HttpRequest) -> list[Kind]:
    """The kinds whose rows the user may see. Without an admin, the permission decides."""
    return [kind for kind in Kind if _may_view(site, request, kind)]


def _may_view(site: admin.AdminSite, request: HttpRequest, kind: Kind) -> bool:
    if kind is Kind.FLAG:
        return may(site, request, "view")
    found = admin_of(site, kind.model)
    if found is not None:
        return found.has_view_permission(request)
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
