"""The overview: what needs attention, what runs, and the changes of today by actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.db.models import Case, Count, F, Func, Model, TextField, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.usage import require_usage, unknown_keys
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import aware, local_time
from flagstaff._workers.register import read_workers
from flagstaff._workers.words import state_label, summary
from flagstaff.admin.app_pages import PAGES, Level, OverviewLine
from flagstaff.admin.changes.filters import Filters
from flagstaff.admin.changes.page import readable_kinds, shown_entries, viewable_kinds
from flagstaff.admin.fallbacks import can_read, value_or_default
from flagstaff.admin.links import changes_url, may_view, page_url
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.search import groups_of
from flagstaff.admin.stale_page import stale_lines
from flagstaff.admin.unknown_keys import DAYS, count_sentence
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import AUTHOR
from flagstaff.models import Change, ConnectedWorker, RecentChange, StaleFlag, UnknownKey

_Read = Callable[[], Sequence[OverviewLine]]
_ReadOwn = Callable[[HttpRequest, str, str], Sequence[OverviewLine]]

#: The classes of the labels, in admin.css and charts.css.
_BADGES = {
    Level.PROBLEM: "flagstaff-tripped",
    Level.NOTICE: "flagstaff-partial",
    Level.RUNNING: "flagstaff-off",
}
# The lines of a table. The most urgent ones are the first.
_MAX_LINES = 50
_MAX_SEARCH = 200
# The days for which unknown keys are counted.
_DAYS = 1
_MAX_ACTORS = 10
# An actor that is no user may be any text.
_MAX_NAME = 60

# What one transaction did to one row under one author, as `history.log.events` has it.
_EVENT = Func(
    "transaction_id",
    Case(*(When(relation__in=kind.relations, then=Value(kind.value)) for kind in Kind)),
    "object_pk",
    *AUTHOR,
    template="(%(expressions)s)",
    output_field=TextField(),
)
# Without an actor, the database user.
_USER = Case(When(actor__isnull=True, then=F("session_user")))


class OverviewAdmin(PlainPageAdmin):
    """Users who may view something of flagstaff see what concerns it."""

    page_template = "flagstaff/overview.html"
    docs_page = "operators/"

    class Media:
        css = {"all": ("flagstaff/charts.css", "flagstaff/overview.css")}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may view flags, values, segments, or rows of an optional app."""
        models: list[type[Model]] = [RecentChange, *(pages.model for pages in PAGES)]
        return any(may_view(self.admin_site, request, model) for model in models)

    def get_urls(self) -> list[URLPattern]:
        """The overview, and the search over everything below it."""
        view = self.admin_site.admin_view(self.search_view)
        return [*super().get_urls(), path("search/", view, name="flagstaff_overview_search")]

    def search_view(self, request: HttpRequest) -> HttpResponse:
        """The rows of all kinds that the user may view and that have a text."""
        return self.attributed_view(request, self._search)

    def _search(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = request.GET.get(SEARCH_VAR, "").strip()[:_MAX_SEARCH]
        groups = groups_of(self.admin_site, request, text) if text else []
        context = {"title": _("Search"), "search": text, "groups": groups}
        return self.plain_page(request, "flagstaff/search.html", context)

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The blocks. Makes a dozen queries, whatever the numbers."""
        lines = overview_lines(self.admin_site, request)
        return {
            "attention": _table(lines, Level.PROBLEM, Level.NOTICE),
            "running": _table(lines, Level.RUNNING),
            "notes": [line.text for line in lines if line.level is Level.UNKNOWN],
            "changes": value_or_default(
                "the overview cannot count the changes of today",
                partial(_changes_of_today, self.admin_site, request),
                None,
            ),
        }


def _table(lines: list[OverviewLine], *levels: Level) -> Mapping[str, object]:
    found = [(line, _BADGES[line.level]) for line in lines if line.level in levels]
    return {"rows": found[:_MAX_LINES], "others": max(len(found) - _MAX_LINES, 0)}


# The lines of stale flags, workers and unknown keys, and those of the optional apps.


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns what the user may see, the most urgent first.

    A part that cannot be read is one line that says so.
    """
    lines: list[OverviewLine] = []
    for name, read in _sources(site, request):
        found = value_or_default(f"the overview cannot read: {name}", read, None)
        if found is None:
            text = _("“%(name)s” cannot be read. Run “manage.py migrate”, or read the log.")
            found = [OverviewLine(name, text % {"name": name}, Level.UNKNOWN)]
        lines += found
    levels = list(Level)
    # Plans and experiments come before numbers of other things.
    return sorted(lines, key=lambda line: (levels.index(line.level), not line.kind))


def _sources(site: AdminSite, request: HttpRequest) -> Iterator[tuple[str, _Read]]:
    """Yields the name of each part, and what reads it."""
    for pages in PAGES:
        name = str(apps.get_app_config(pages.model._meta.app_label).verbose_name)
        yield name, partial(pages.overview_lines, site, request)
    own: list[tuple[type[Change], _ReadOwn]] = [(StaleFlag, _stale_flags)]
    if is_postgresql(connections[conf.database]):
        own += [(ConnectedWorker, _workers), (UnknownKey, _unknown_keys)]
    for model, read in own:
        if may_view(site, request, model):
            name = str(capfirst(model._meta.verbose_name_plural))
            yield name, partial(read, request, name, page_url(site, model, "changelist"))


def _stale_flags(_request: HttpRequest, title: str, url: str) -> Sequence[OverviewLine]:
    return stale_lines(title, url)


def _workers(_request: HttpRequest, title: str, url: str) -> Sequence[OverviewLine]:
    found = read_workers(connections[conf.database])
    if not found.behind:
        return ()
    text, label = localized(summary(found)), localized(state_label(found.is_behind))
    return (OverviewLine(title, text, Level.PROBLEM, url, label),)


def _unknown_keys(request: HttpRequest, title: str, url: str) -> Sequence[OverviewLine]:
    if not can_read(request, "usage_table"):
        require_usage()
    _first, count = unknown_keys(timedelta(days=_DAYS), limit=1)
    if not count:
        return ()
    text, label = count_sentence(count, _DAYS), local_number(count)
    return (OverviewLine(title, text, Level.NOTICE, f"{url}?{DAYS}={_DAYS}", label),)


# The changes of today, counted by actor.


def _changes_of_today(site: AdminSite, request: HttpRequest) -> Mapping[str, object] | None:
    """Returns the actors with the most changes that the user may see; None without a history.

    Makes two queries. A third one finds the tables for the page.
    """
    if not viewable_kinds(site, request) or not can_read(request, "change_table"):
        return None
    today = local_time(aware(timezone.now())).date()
    rows = _count(site, request, today)
    shown, others = rows[:_MAX_ACTORS], len(rows) - _MAX_ACTORS
    actors = {row["actor"] for row in shown if row["actor"]}
    names = actor_table().names(actors) if actors else {}
    return {
        "actors": [_shown(site, row, names, today) for row in shown],
        "others": local_number(others) if others > 0 else "",
    }


def _count(site: AdminSite, request: HttpRequest, day: date) -> Sequence[dict[str, Any]]:
    """Returns the actors and their numbers of changes. Selects as the page of recent changes."""
    filters = Filters({"from": f"{day}", "to": f"{day}"}, {}, may_see_users=False)
    counted = (
        shown_entries(site, request, filters, readable_kinds(site, request))
        .values("actor", user=_USER)
        .annotate(count=Count(_EVENT, distinct=True))
    )
    return [dict(row) for row in counted.order_by("-count", "actor", "user")]


def _shown(
    site: AdminSite, row: dict[str, Any], names: Mapping[str, str], day: date
) -> Mapping[str, object]:
    user, name = row["user"], names.get(row["actor"], row["actor"])
    text = _("%(user)s (database user)") % {"user": user} if name is None else name
    return {
        "name": Truncator(text).chars(_MAX_NAME),
        "count": local_number(row["count"]),
        "url": changes_url(site, {"actor": name or user, "from": day, "to": day}),
    }
