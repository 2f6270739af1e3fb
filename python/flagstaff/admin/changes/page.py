"""The page of changes of flags, values and segments, and of the events of apps, and its CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain, islice
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.rows import all_rows
from flagstaff._words.text import local_number
from flagstaff._words.times import aware, local_time, local_time_text
from flagstaff.admin.app_pages import PAGES, AppPages
from flagstaff.admin.changes.events import EventRow, event_rows, named, rows_of_app
from flagstaff.admin.changes.filters import (
    KIND_LABELS,
    TIMES,
    Filters,
    readable_kinds,
    shown_entries,
    viewable_kinds,
)
from flagstaff.admin.changes.undo import undo_page
from flagstaff.admin.confirmation import parse_version
from flagstaff.admin.fallbacks import can_read, value_or_default
from flagstaff.admin.links import ALL, RESTORE, TRANSACTION, UNDO, back_url, page_url, undo_url
from flagstaff.admin.pages import Page
from flagstaff.admin.rights import may_view
from flagstaff.history.differences import Users
from flagstaff.history.export import csv_lines
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, events, missing_entries
from flagstaff.history.user_names import may_see_users

_PAGE_SIZE = 50
# Events of apps between the first and the last change of a page.
_MAX_OTHERS = 500
_BEFORE = "before"


class RecentChanges(Page):
    """One page: users who may view flags, values or segments see their changes."""

    name = "changes"
    template = "flagstaff/changes.html"
    docs_page = "how-to/history/"

    def post(self) -> HttpResponse:
        """Undoes what the URL names, after a confirmation."""
        if {UNDO, RESTORE}.isdisjoint(self.request.GET):
            raise PermissionDenied
        return undo_page(self.admin, self.request)

    def get(self) -> HttpResponse:
        """The page, the page that undoes what the URL names, or the CSV."""
        request = self.request
        if not can_read(request, "change_table"):
            return self.show(self._context())
        if not {UNDO, RESTORE}.isdisjoint(request.GET):
            return undo_page(self.admin, request)
        if url := back_url(request):
            text = _("First select the changes that you want to undo.")
            self.admin.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(url)
        is_csv = request.GET.get("format") == "csv"
        return self._csv() if is_csv else self.show(self._context())

    def _context(self) -> Mapping[str, object]:
        """The rows of a page, and the filters."""
        site, request = self.site, self.request
        filters = _filters(site, request)
        username, now = request.user.get_username(), local_time(timezone.now())
        context = {
            "form": filters,
            "query": filters.query(),
            # To which an undo returns.
            "back": request.get_full_path(),
            "quick": [
                *(
                    (text, filters.query(**{"from": f"{now - time:%Y-%m-%dT%H:%M}", "to": ""}))
                    for text, time in TIMES
                ),
                (_("Mine"), filters.query(actor=username)),
            ],
        }
        if not can_read(request, "change_table"):
            text = _("There is no history: it needs PostgreSQL and “manage.py migrate”.")
            return {**context, "unavailable": text}
        if filters.errors:
            return context
        kinds, readable = viewable_kinds(site, request), readable_kinds(site, request)
        if filters.of_key:
            context["title"] = _("Changes of %(key)s") % {"key": filters.of_key}
        of_row = _row_of(filters)
        rows, older = self._rows(filters, readable, of_row)
        together = [int(row.version) for row in rows if row.may_undo]
        is_whole = filters.query() == urlencode({TRANSACTION: filters.of_transaction})
        undo_all = undo_url(site, together)
        return {
            **context,
            "rows": rows,
            "older": older,
            "missing": _missing_text(),
            "is_secret": of_row is not None and is_secret(of_row),
            "unreadable": [str(KIND_LABELS[kind]) for kind in kinds if kind not in readable],
            "may_select": any(row.is_selectable for row in rows),
            "undo_all": f"?{filters.query()}&{UNDO}={ALL}" if is_whole else undo_all,
            "undo_all_count": len(together) if filters.is_narrow else 0,
            "is_whole": is_whole,
        }

    def _rows(
        self, filters: Filters, kinds: Sequence[Kind], of_row: Any
    ) -> tuple[list[EventRow], str]:
        """The rows of a page, and the query of the next one."""
        site, request = self.site, self.request
        before = request.GET.get(_BEFORE)
        version = parse_version(before) if before else None
        entries = shown_entries(site, request, filters, kinds)
        newest = entries.short().newest(version, few=filters.is_short)[: _PAGE_SIZE + 1]
        [*found] = newest if kinds else ()
        page, more = found[:_PAGE_SIZE], found[_PAGE_SIZE:]
        rows = event_rows(site, request, [*events(page)], history_of=of_row)
        # The events of the apps between the first and the last change of the page.
        since, until = filters.since, filters.until
        if more:
            since = max(filter(None, (aware(page[-1].at), since)))
        if version is not None:
            until = Change.objects.filter(pk=version).values_list("at", flat=True).first()
        rows += _rows_of_apps(site, request, filters, (since, until))
        older = filters.query(**{_BEFORE: str(page[-1].pk)}) if more else ""
        return sorted(rows, key=lambda row: row.at, reverse=True), older

    def _csv(self) -> HttpResponse:
        site, request = self.site, self.request
        filters = _filters(site, request)
        found = shown_entries(site, request, filters, readable_kinds(site, request))
        entries = () if filters.errors else found.in_batches(few=filters.is_short)
        shown = events(entries)
        if not may_see_users(request.user):
            # The numbers stay.
            shown = (
                replace(one, added=Users(one.added.count), removed=Users(one.removed.count))
                for one in shown
            )
        # A first event is read here, so that a problem is not in the middle of the response.
        lines = csv_lines(chain([*islice(shown, 1)], shown))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="changes.csv"'
        return cast("HttpResponse", response)


def _filters(site: AdminSite, request: HttpRequest) -> Filters:
    kinds = {kind.value: str(KIND_LABELS[kind]) for kind in viewable_kinds(site, request)}
    labels = kinds | {pages.name: pages.label for pages in PAGES}
    return Filters(request.GET, labels)


# The rows.


def _row_of(filters: Filters) -> Any:
    """Returns the row whose history this is; None if the filters do not name one. One query."""
    kind = next((kind for kind in Kind if kind.value == filters.of_kind), None)
    return kind.find(filters.of_key) if kind and filters.of_key else None


def _rows_of_apps(
    site: AdminSite,
    request: HttpRequest,
    filters: Filters,
    times: tuple[datetime | None, datetime | None],
) -> list[EventRow]:
    """Returns the newest events of the apps that meet the filters. Few queries."""
    if filters.of_transaction is not None:
        return []
    events: list[tuple[AppPages, Any]] = []
    for pages in PAGES:
        if filters.of_kind in {"", pages.name} and may_view(site, request, pages.model):
            problem = f"the app {pages.model._meta.app_label} cannot show its events"
            newest = _events_of_app(site, request, pages, filters, times)[:_MAX_OTHERS]
            found: list[Any] = value_or_default(problem, partial(list, newest), [])
            events += [(pages, event) for event in found]
    rows = []
    for (pages, event), row in zip(events, rows_of_app([one for _p, one in events]), strict=True):
        subject = getattr(event, pages.name)
        url = page_url(site, pages.model, "change", subject.pk)
        rows.append(named(row, subject.key, url, pages.label))
    return rows


def _events_of_app(
    site: AdminSite,
    request: HttpRequest,
    pages: AppPages,
    filters: Filters,
    times: tuple[datetime | None, datetime | None],
) -> Any:
    """Returns the events of an app that meet the filters, newest first."""
    conditions = {
        f"{pages.name}__key": filters.of_key or None,
        "at__gte": times[0],
        "at__lt": times[1],
        "actor__in": filters.actors,
    }
    events = all_rows(pages.events).filter(
        **{name: one for name, one in conditions.items() if one is not None}
    )
    if filters.text:
        events = events.filter(
            Q(**{f"{pages.name}__key__icontains": filters.text}) | Q(actor__in=filters.text_actors)
        )
    # The rows that their list shows.
    shown = site.get_model_admin(pages.model).get_queryset(request).order_by().values("pk")
    events = events.filter(**{f"{pages.name}__in": shown})
    return events.select_related(pages.name).order_by("-at", "-pk")


def _missing_text() -> str:
    """Returns how many recent changes left no entry; empty if all did. Makes a query."""
    nothing: tuple[int, datetime | None] = 0, None
    count, newest = value_or_default("missing entries cannot be counted", missing_entries, nothing)
    if not count:
        return ""
    text = ngettext(
        "%(count)s recent change is not in the history, which could not be written. The last was "
        "on %(time)s. The log of PostgreSQL says why, and flags status how to end this notice.",
        "%(count)s recent changes are not in the history, which could not be written. The last was "
        "on %(time)s. The log of PostgreSQL says why, and flags status how to end this notice.",
        count,
    )
    at = "" if newest is None else local_time_text(newest)
    return text % {"count": local_number(count), "time": at}
