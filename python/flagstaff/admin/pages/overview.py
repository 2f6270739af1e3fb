"""The overview: what needs attention, what runs, and what can be tidied up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from django.apps import apps
from django.db.models import Q

from flagstaff._engine import forced_off, forced_on
from flagstaff._tables.database import db, value_or_default
from flagstaff._tables.rows import uncached
from flagstaff._tables.states import ALL_USERS, FlagState
from flagstaff._text import local_number, localized, say
from flagstaff._text.times import today
from flagstaff._workers.register import read_workers
from flagstaff._workers.status import state_label, summary
from flagstaff._workers.usage import require_usage, unknown_keys
from flagstaff.admin.base_admin import Content, Page
from flagstaff.admin.links import changes_url, overview_line, page_link, page_title
from flagstaff.admin.looks import alarms_of, state_and_label, with_counts
from flagstaff.admin.parts import PAGES, Level, OverviewLine
from flagstaff.admin.rights import may_view
from flagstaff.admin.waiting_parts import overview_lines
from flagstaff.admin.words import Column, Table, as_of, badge, key_link, link, two_lines
from flagstaff.conf import conf
from flagstaff.models import StaleCount, WaitingAction

# The lines of a table. The most urgent ones are the first.
_MAX_LINES = 50
_Read = Callable[[], Sequence[OverviewLine]]


class Overview(Page):
    """Users who may view something of flagstaff see what concerns it."""

    name = "overview"

    def content(self) -> Content:
        """The tables. Makes a dozen queries, whatever the numbers."""
        lines = self._lines()
        nothing = say("Nothing needs attention.").local
        attention = _table(
            lines, say("Needs attention").local, {Level.PROBLEM, Level.NOTICE}, nothing
        )
        # In the list of flags, a stale flag does not need attention either.
        others = (
            _table(lines, say("Running").local, {Level.RUNNING}),
            _table(lines, say("Stale").local, {Level.STALE}),
        )
        links = []
        if page_link(self.site, self.request, "changes"):
            url = changes_url(self.site, {"from": today()})
            links = [(url, say("Changes of today").local)]
        return Content(
            notes=[line.text for line in lines if line.level is Level.UNKNOWN],
            tables=[attention, *(table for table in others if table.rows)],
            links=links,
        )

    def _lines(self) -> list[OverviewLine]:
        """Returns what the user may see, the most urgent first.

        A part that cannot be read is one line that says so.
        """
        lines: list[OverviewLine] = []
        for name, read in self._sources():
            unknown = [
                OverviewLine(
                    name,
                    say(
                        "“{name}” cannot be read. Run “manage.py migrate”, or read the log.",
                        name=name,
                    ).local,
                    Level.UNKNOWN,
                )
            ]
            lines += value_or_default(f"the overview cannot read: {name}", read, unknown)
        levels = list(Level)
        # Plans and experiments come before numbers of other things.
        return sorted(lines, key=lambda line: (levels.index(line.level), not line.kind))

    def _sources(self) -> Iterator[tuple[str, _Read]]:
        """Yields the name of each part, and what reads it."""
        readers = {"stale": _stale_flags}
        if may_view(self.site, self.request, conf.flag_model):
            yield str(conf.flag_model._meta.verbose_name_plural), self._flags
        # On SQLite, nothing runs.
        if db.is_postgresql:
            readers |= {"workers": _workers, "unknown_keys": _unknown_keys}
            for pages in PAGES:
                if may_view(self.site, self.request, pages.model):
                    name = str(apps.get_app_config(pages.model._meta.app_label).verbose_name)
                    yield name, partial(pages.overview_lines, self.site, self.request)
            plural = str(WaitingAction._meta.verbose_name_plural)
            yield plural, partial(overview_lines, self.site, self.request)
        for page, read in readers.items():
            if url := page_link(self.site, self.request, page):
                title = page_title(page)
                yield title, partial(read, title, url)

    def _flags(self) -> Sequence[OverviewLine]:
        """The flags with an alarm of their own. The apps have lines for theirs."""
        keeps_users_out = ~Q(rules=[]) & Q(enabled=True, rollout_percent__gte=ALL_USERS)
        rows = self.admin.get_queryset(self.request).order_by("key")
        flags = rows.filter(keeps_users_out | Q(key__in=forced_off.keys | forced_on.keys))
        return [
            overview_line(self.site, flag, note.text, Level.PROBLEM, badge(state.value, label))
            for flag in with_counts(flags)
            for state, label in [state_and_label(flag)]
            for note in alarms_of(flag.key, FlagState.of(flag))
        ]


def _table(all_lines: list[OverviewLine], title: str, levels: set[Level], empty: str = "") -> Table:
    lines = [line for line in all_lines if line.level in levels]
    rows = [
        (
            two_lines(key_link(line.title, line.url), line.kind)
            if line.kind
            else link(line.url, line.title),
            line.label,
            line.text,
        )
        for line in lines[:_MAX_LINES]
    ]
    more = len(lines) - len(rows)
    note = say("and {count} more", count=more).local if more else ""
    columns = [Column(say("What").local), Column(say("State").local), Column(say("Details").local)]
    return Table(columns, rows, title, empty, note, is_stacked=True)


# The lines of stale flags, workers and unknown keys.


def _stale_flags(title: str, url: str) -> Sequence[OverviewLine]:
    """The number that run-jobs has counted."""
    stored = uncached(db.rows(StaleCount)).first()
    if stored is None:
        text = say("The stale flags have not been counted: run-jobs has not run.").local
        return (OverviewLine(title, text, Level.UNKNOWN),)
    if not stored.count:
        return ()
    text = say(
        "{count} flag is stale, {as_of}.",
        "{count} flags are stale, {as_of}.",
        count=stored.count,
        as_of=as_of(stored.at),
    ).local
    label = badge("stale", local_number(stored.count))
    return (OverviewLine(title, text, Level.STALE, url, label),)


def _workers(title: str, url: str) -> Sequence[OverviewLine]:
    register = read_workers()
    if not register.behind:
        return ()
    label = badge("behind", localized(state_label(register.is_behind)))
    return (OverviewLine(title, localized(summary(register)), Level.PROBLEM, url, label),)


def _unknown_keys(title: str, url: str) -> Sequence[OverviewLine]:
    """The number of keys of the last day: an older one may be corrected already."""
    require_usage()
    _first, count = unknown_keys(timedelta(days=1), limit=1)
    if not count:
        return ()
    shown = local_number(count)
    label = badge("unknown keys", shown)
    return (
        OverviewLine(
            title,
            say(
                "In the last 24 hours, your code evaluated {count} key that has no flag.",
                "In the last 24 hours, your code evaluated {count} keys that have no flag.",
                count=count,
            ).local,
            Level.NOTICE,
            url,
            label,
        ),
    )
