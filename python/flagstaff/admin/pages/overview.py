"""The overview: what needs attention, what runs, and the changes of today by actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import Case, Count, F, Func, TextField, Value, When
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.usage import require_usage, unknown_keys
from flagstaff._tables.rows import uncached
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import today
from flagstaff._workers.register import read_workers
from flagstaff._workers.words import state_label, summary
from flagstaff.admin.app_pages import PAGES, Level, OverviewLine
from flagstaff.admin.cells import as_of, two_lines
from flagstaff.admin.changes.filters import Filters, shown_entries, viewable_kinds
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import changes_url
from flagstaff.admin.menu import page_link, page_title
from flagstaff.admin.table import Column, Content, Page, Table, link
from flagstaff.admin.waiting_lines import overview_lines
from flagstaff.admin.words import badge, key_link
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import AUTHOR
from flagstaff.models import StaleCount, WaitingAction

# The lines of a table. The most urgent ones are the first.
_MAX_LINES = 50
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
_Read = Callable[[], Sequence[OverviewLine]]


class Overview(Page):
    """Users who may view something of flagstaff see what concerns it."""

    docs_page = "how-to/admin/"

    def content(self) -> Content:
        """The tables. Makes a dozen queries, whatever the numbers."""
        every = self._lines()
        attention = _table(
            every,
            _("Needs attention"),
            {Level.PROBLEM, Level.NOTICE},
            _("Nothing needs attention."),
        )
        running = _table(every, _("Running"), {Level.RUNNING})
        read = self._changes_of_today
        changes = value_or_default("the overview cannot count the changes of today", read, None)
        return Content(
            notes=[line.text for line in every if line.level is Level.UNKNOWN],
            tables=[
                attention,
                *([running] if running.rows else []),
                *([changes] if changes else []),
            ],
        )

    def _lines(self) -> list[OverviewLine]:
        """Returns what the user may see, the most urgent first.

        A part that cannot be read is one line that says so.
        """
        found: list[OverviewLine] = []
        for name, read in self._sources():
            text = _("“%(name)s” cannot be read. Run “manage.py migrate”, or read the log.")
            unknown = [OverviewLine(name, text % {"name": name}, Level.UNKNOWN)]
            found += value_or_default(f"the overview cannot read: {name}", read, unknown)
        levels = list(Level)
        # Plans and experiments come before numbers of other things.
        return sorted(found, key=lambda line: (levels.index(line.level), not line.kind))

    def _sources(self) -> Iterator[tuple[str, _Read]]:
        """Yields the name of each part, and what reads it."""
        for pages in PAGES:
            name = str(apps.get_app_config(pages.model._meta.app_label).verbose_name)
            yield name, partial(pages.overview_lines, self.site, self.request)
        plural = str(WaitingAction._meta.verbose_name_plural)
        yield plural, partial(overview_lines, self.site, self.request)
        own = {"stale": _stale_flags}
        if is_postgresql(connections[conf.database]):
            own |= {"workers": _workers, "unknown_keys": _unknown_keys}
        for page, read in own.items():
            if url := page_link(self.site, self.request, page):
                title = page_title(page)
                yield title, partial(read, title, url)

    def _changes_of_today(self) -> Table | None:
        """Returns the actors with the most changes that the user may see. Makes two queries.

        None without a history, and for users who may see no changes.
        """
        kinds = viewable_kinds(self.site, self.request)
        if not kinds or not is_postgresql(connections[conf.database]):
            return None
        day = today()
        # Selects as the page of recent changes, to which the numbers are links.
        filters = Filters({"from": f"{day}"}, {})
        counted = (
            shown_entries(self.site, self.request, filters, kinds)
            .values("actor", user=_USER)
            .annotate(count=Count(_EVENT, distinct=True))
            .order_by("-count", "actor", "user")
        )
        rows: list[Any] = [*counted]
        actors = {row["actor"] for row in rows[:_MAX_ACTORS] if row["actor"]}
        names = actor_table().names(actors) if actors else {}
        return Table(
            [Column(_("Actor")), Column(_("Changes"), is_number=True)],
            [self._actor(row, names, day) for row in rows[:_MAX_ACTORS]],
            _("Changes of today"),
            _("No flag, value or segment was changed today."),
            _more(len(rows) - _MAX_ACTORS),
        )

    def _actor(self, row: dict[str, Any], names: Mapping[str, str], day: date) -> Sequence[str]:
        user, name = row["user"], names.get(row["actor"], row["actor"])
        text = _("%(user)s (database user)") % {"user": user} if name is None else name
        url = changes_url(self.site, {"actor": name or user, "from": day})
        return link(url, Truncator(text).chars(_MAX_NAME)), local_number(row["count"])


def _table(every: list[OverviewLine], title: str, levels: set[Level], empty: str = "") -> Table:
    found = [line for line in every if line.level in levels]
    columns = [Column(_("What")), Column(_("State")), Column(_("Details"))]
    rows = [
        (
            two_lines(key_link(line.title, line.url), line.kind)
            if line.kind
            else link(line.url, line.title),
            *(line.label, line.text),
        )
        for line in found[:_MAX_LINES]
    ]
    return Table(columns, rows, title, empty, _more(len(found) - _MAX_LINES))


def _more(count: int) -> str:
    return _("and %(count)s more") % {"count": local_number(count)} if count > 0 else ""


# The lines of stale flags, workers and unknown keys.


def _stale_flags(title: str, url: str) -> Sequence[OverviewLine]:
    """The number that run-jobs has counted."""
    stored = uncached(StaleCount.objects.using(conf.database)).first()
    if stored is None:
        text = _("The stale flags have not been counted: run-jobs has not run.")
        return (OverviewLine(title, text, Level.UNKNOWN),)
    if not stored.count:
        return ()
    text = ngettext(
        "%(count)s flag is stale, %(as_of)s.", "%(count)s flags are stale, %(as_of)s.", stored.count
    )
    count = local_number(stored.count)
    text %= {"count": count, "as_of": as_of(stored.at)}
    return (OverviewLine(title, text, Level.NOTICE, url, badge("stale", count)),)


def _workers(title: str, url: str) -> Sequence[OverviewLine]:
    found = read_workers(connections[conf.database])
    if not found.behind:
        return ()
    label = badge("behind", localized(state_label(found.is_behind)))
    return (OverviewLine(title, localized(summary(found)), Level.PROBLEM, url, label),)


def _unknown_keys(title: str, url: str) -> Sequence[OverviewLine]:
    """The number of keys of the last day: an older one may be corrected already."""
    require_usage()
    _first, count = unknown_keys(timedelta(days=1), limit=1)
    if not count:
        return ()
    text = ngettext(
        "In the last 24 hours, your code evaluated %(count)s key that has no flag.",
        "In the last 24 hours, your code evaluated %(count)s keys that have no flag.",
        count,
    )
    shown = local_number(count)
    label = badge("unknown keys", shown)
    return (OverviewLine(title, text % {"count": shown}, Level.NOTICE, url, label),)
