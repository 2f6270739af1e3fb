"""Events as three pages show them: the history of a row, recent changes, and that of a flag."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.text import local_number, localized, truncated
from flagstaff._words.times import ago, local_clock_text, local_time_text
from flagstaff.admin.confirmation import MAX_TEXT
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.history.describe import (
    ChangePart,
    Names,
    describe_actor,
    describe_json_change,
    describe_parts,
    field_label,
    source_label,
)
from flagstaff.history.differences import Users
from flagstaff.history.export import csv_lines
from flagstaff.history.log import Change, Event, missing_entries
from flagstaff.history.user_names import may_see_users, names_in, names_of_actors

# A character that ends a sentence or a bracket is not part of the URL.
_ADDRESS = re.compile(r"(https?://[^\s<>\"']*[^\s<>\"'/.,;:!?)\]}]/*)")
# The text was truncated here, so the URL is not complete.
_CUT = "…"
# Characters of a whole value, which is folded: a page has up to 100 of them.
_MAX_WHOLE = 4_000


@dataclass(frozen=True)
class RelatedChanges:
    """The other flags, values and segments that an event's transaction changed."""

    #: Pairs of a key and the URL of its history; "" if the row was deleted.
    keys: Sequence[tuple[str, str]]
    #: The number of all changed rows, the event's own included. If it is not exact, there are more.
    count: int
    is_exact: bool
    #: The page that undoes all of them; "" if the user may not, or if it is not possible.
    undo_url: str

    @property
    def label(self) -> str:
        """The label of the button that undoes all."""
        text = _("Undo all")
        if self.is_exact:
            text = ngettext("Undo all %(count)s", "Undo all %(count)s", self.count)
        return f"{text % {'count': local_number(self.count)}}…"

    @property
    def short_label(self) -> str:
        """The label beside a button that undoes the event alone."""
        text = _("all %(count)s") if self.is_exact else _("all")
        return f"{text % {'count': local_number(self.count)}}…"

    @property
    def sentence(self) -> SafeString:
        """The keys as links. Whole sentences, because the order of words differs by language."""
        links = (
            format_html('<a href="{}">{}</a>', url, key) if url else key for key, url in self.keys
        )
        keys = format_html_join(", ", "{}", ([link] for link in links))
        more = self.count - 1 - len(self.keys)
        if not self.is_exact:
            text = (
                _("changed together with {keys} and at least {count} more")
                if self.keys
                else _("changed together with at least {count} more")
            )
        elif not more:
            text = _("changed together with {keys}")
        elif self.keys:
            text = ngettext(
                "changed together with {keys} and {count} more",
                "changed together with {keys} and {count} more",
                more,
            )
        else:
            text = ngettext(
                "changed together with {count} more", "changed together with {count} more", more
            )
        return format_html(text, keys=keys, count=more)


@dataclass(frozen=True)
class EventRow:
    """An event in two lines, as `flagstaff/recent_changes/event.html` shows it."""

    at: datetime
    change: SafeString | str
    actor: str
    source: str
    reason: SafeString
    #: What a tooltip says about the actor.
    database_user: str = ""
    #: The version as a text; empty for events of optional apps.
    version: str = ""
    #: The old and the new value, if the change shows only what differs.
    whole: tuple[str, str] | None = None
    #: When the event was undone, and by whom; empty if it was not.
    undone: str = ""
    #: The key, its page, and its kind if it is no flag; empty on the pages of the row itself.
    key: str = ""
    url: str = ""
    kind: str = ""
    is_deleted: bool = False
    history_url: str = ""
    related: RelatedChanges | None = None
    #: Whether the event can be selected, to be undone with others.
    may_select: bool = False
    #: Whether it is one of all changes of the page that are undone together.
    is_one_of_all: bool = False
    undo_url: str = ""
    undo_label: str = ""
    restore_url: str = ""

    @property
    def time(self) -> str:
        """The date and time, with the time zone."""
        return local_time_text(self.at)

    @property
    def short_time(self) -> str:
        """The time, with the date if it is not today's, and how long ago it is."""
        return f"{local_clock_text(self.at)} · {ago(self.at)}"


def with_links(text: str) -> SafeString:
    """Returns the text as HTML, with each http and https address as a link.

    >>> with_links("see https://example.com/7.")
    'see <a href="https://example.com/7" rel="noreferrer">https://example.com/7</a>.'
    """
    # Every second part is an address.
    parts = _ADDRESS.split(text)
    for number, address in enumerate(parts):
        if number % 2 and _CUT not in address:
            parts[number] = format_html('<a href="{0}" rel="noreferrer">{0}</a>', address)
    return format_html_join("", "{}", zip(parts))


def without_hidden_users(request: HttpRequest, events: Iterator[Event]) -> Iterator[Event]:
    """Yields the events with the numbers of users only, if their names may not be seen."""
    if may_see_users(request.user):
        return events
    return (
        replace(event, added=Users(event.added.count), removed=Users(event.removed.count))
        for event in events
    )


def missing_text() -> str:
    """Returns how many recent changes left no entry; empty if all did. Makes a query."""
    nothing: tuple[int, datetime | None] = 0, None
    problem = "missing entries cannot be counted"
    count, newest = value_or_default(problem, missing_entries, nothing)
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


def csv_response(events: Iterator[Event], filename: str) -> StreamingHttpResponse:
    """Returns the events as CSV, which is sent while they are read."""
    # A first event is read here, so that a problem is not in the middle of the response.
    first = list(islice(events, 1))
    lines = csv_lines(chain(first, events))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def event_rows(
    request: HttpRequest, events: Sequence[Event], undone: Mapping[int, Change]
) -> list[EventRow]:
    """Returns the rows of events without a key and buttons. `undone` is that of `undone_by`.

    Queries the names of actors and users.
    """
    undos = [*undone.values()]
    users: Mapping[str, str] | None = None
    if may_see_users(request.user):
        actors, users = names_in(events, undos)
    else:
        actors = names_of_actors([*events, *undos])
    return [
        EventRow(
            at=event.at,
            change=_change_html(event, users),
            actor=describe_actor(event, actors),
            source=source_label(event.source),
            reason=with_links(event.reason or ""),
            database_user=event.session_user,
            version=str(event.version),
            whole=_whole_values(event),
            undone=_undone_text(undone.get(event.version), actors),
        )
        for event in events
    ]


def _undone_text(undo: Change | None, actors: Names) -> str:
    if undo is None:
        return ""
    values = {"time": local_clock_text(undo.at), "actor": describe_actor(undo, actors)}
    return _("undone %(time)s by %(actor)s") % values


def _change_html(event: Event, users: Names | None) -> SafeString:
    """Returns what was changed, with the values in bold. The kind says that a value is one."""
    parts = describe_parts(event, users, limit=MAX_TEXT)
    label = field_label("value") if (event.kind, event.action) == ("value", "change") else None
    shown = (part._replace(words="") if part.words == label else part for part in parts)
    return format_html_join(", ", "{}", ([_part_html(part)] for part in shown))


def _part_html(part: ChangePart) -> SafeString | str:
    html = "{} <strong>{}</strong>" if part.words else "{}<strong>{}</strong>"
    return format_html(html, *part) if part.values else part.words


def _whole_values(event: Event) -> tuple[str, str] | None:
    """Returns the old and the new value if the change shows only what differs, or None."""
    for one in event.differences:
        is_value = event.action == "change" and one.field == "value"
        if is_value and describe_json_change(one.old, one.new) is not None:
            return _indented(one.old), _indented(one.new)
    return None


def _indented(value: object) -> str:
    return localized(truncated(json.dumps(value, indent=2, ensure_ascii=False), _MAX_WHOLE))
