"""The words of the console as HTML: states with their colours, keys, times, and cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flagstaff._tables.rows import ALLOWED_USERS, Kind
from flagstaff._text import local_list, say
from flagstaff._text.times import ago, aware, full_time, local_time_text
from flagstaff.history.describe import (
    Authored,
    Names,
    describe_actor,
    describe_parts,
    names_of_actors,
)
from flagstaff.history.log import Change, events

# A stylesheet cuts what does not fit.
_MAX_DESCRIPTION = 200
# The fields of a change, and the length of each value.
_MAX_PARTS, _MAX_VALUE = 3, 30
# An actor that is no user may be any text, and a database user has up to 63 characters.
_MAX_ACTOR = 100

#: What rows with a history are called.
KIND_LABELS = {
    Kind.FLAG: say("flag").lazy,
    Kind.VALUE: say("value").lazy,
    Kind.SEGMENT: say("segment").lazy,
}
#: The classes of admin.css. Green: works, or all have it. Amber: some have it, or a person should
# look. Red: harm, or nothing guards against it. Grey: nobody has it, nothing happens.
_OK, _PART, _BAD, _OFF = "on", "partial", "tripped", "off"
COLOURS = {
    # Flags.
    "all": _OK,
    "rollout": _PART,
    "by-rules": _PART,
    "allowed-users": _PART,
    "no-users": _OFF,
    "off": _OFF,
    "on": _OK,
    "stale": _PART,
    "unknown keys": _PART,
    # Actions that wait.
    "approval": _PART,
    "waiting": _PART,
    "refused": _OFF,
    "cancelled": _OFF,
    # Rollout plans.
    "pending": _OFF,
    "running": _OK,
    "holding": _PART,
    "paused": _PART,
    "done": _OK,
    "passes": _OK,
    "rolled_back": _BAD,
    "unguarded": _BAD,
    # Experiments, and their verdicts.
    "draft": _OFF,
    "stopped": _OFF,
    "shipped": _OK,
    "forced off": _BAD,
    "better": _OK,
    "worse": _BAD,
    "harm": _BAD,
    "mismatch": _BAD,
    "guardrail_failed": _BAD,
    "no_difference": _OFF,
    "undecided": _PART,
    "too_early": _OFF,
    "no verdict": _BAD,
    # Workers.
    "up to date": _OK,
    "behind": _BAD,
    "older": _PART,
    "unknown": _OFF,
    "lost": _OFF,
}


def colour_of(state: str) -> str:
    """Returns the class of the colour of a state; red if SQL has written the state."""
    return COLOURS.get(state, _BAD)


def badge(state: str, text: object, *, title: str = "") -> SafeString:
    """Returns a text as a label in the colour of a state; red if SQL has written the state."""
    return format_html(
        '<span class="flagstaff-state flagstaff-{}"{}>{}</span>',
        colour_of(state),
        title and format_html(' title="{}"', title),
        text,
    )


def key_link(key: str, url: str = "") -> SafeString:
    """Returns a key, as a link unless the URL is empty."""
    if not url:
        return format_html('<span class="flagstaff-key">{}</span>', key)
    return format_html('<a class="flagstaff-key" href="{}">{}</a>', url, key)


def cell_html(form: str, *values: object) -> SafeString:
    """Returns what `format_html` returns, in a third of its time. A list has thousands of cells."""
    return SafeString(form.format(*map(_html, values)))


def _html(value: object) -> str:
    return value.__html__() if hasattr(value, "__html__") else escape(str(value))


def joined(separator: str, parts: Iterable[str]) -> SafeString:
    """Returns the parts that are not empty, as HTML."""
    return SafeString(separator.join(_html(part) for part in parts if part))


def facts_html(facts: Iterable[tuple[object, object]]) -> SafeString:
    """Returns labels, and what is to be known beside each."""
    lines = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', facts)
    return format_html('<table class="flagstaff-history">{}</table>', lines)


def json_html(text: str) -> SafeString:
    """Returns a text that is JSON."""
    return format_html('<span class="flagstaff-json">{}</span>', text)


def note_html(text: str) -> SafeString:
    """Returns a quiet line."""
    return format_html('<p class="flagstaff-note">{}</p>', text)


# Tables, and the cells of tables and lists.


@dataclass(frozen=True)
class Column:
    """The heading of a column, and how its cells are aligned."""

    title: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells. A cell is a text, or HTML with a badge, a link or a time."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""
    #: What the page says instead of a table without rows.
    empty: str = ""
    #: What follows the table.
    note: str = ""
    #: Whether the cells of a row stand below each other on a phone: its last column matters most.
    is_stacked: bool = False

    @property
    def cells(self) -> list[list[tuple[Column, str]]]:
        """The cells of each row, with their columns."""
        return [[*zip(self.columns, row, strict=True)] for row in self.rows]

    def html(self, label: str) -> SafeString:
        """Returns the table for a section of a page. Screen readers say the label."""
        return render_to_string("flagstaff/table.html", {"table": self, "label": label})


def link(url: str, text: str) -> SafeString | str:
    """Returns a text, as a link unless the URL is empty."""
    return format_html('<a href="{}">{}</a>', url, text) if url else text


def two_lines(first: str, *others: str) -> SafeString:
    """Returns a line, and below it those quiet ones that are not empty."""
    quiet = [line for line in others if line]
    return cell_html("{}" + "<small>{}</small>" * len(quiet), first, *quiet)


def key_cell(row: Any) -> SafeString:
    """Returns the key and the description."""
    return two_lines(key_link(row.key), short(row.description))


def newest_change_cells(versions: Collection[int]) -> dict[str, SafeString]:
    """Returns changes by the primary key of their row: in a few words, with actor and time.

    `versions` are those of rows of one kind. Makes two queries.
    """
    if not versions:
        return {}
    entries = [*Change.objects.filter(pk__in=versions).short()]
    names, created, restored = names_of_actors(entries), say("created").local, say("restored").local
    return {
        entry.object_pk: _newest_change_cell(entry, names, restored if entry.undone else created)
        for entry in entries
    }


def _newest_change_cell(entry: Change, names: Names, of_new: str) -> SafeString:
    parts: Sequence[object] = ()
    # A new row differs in every field.
    if entry.action != Change.Action.INSERT or entry.relation == ALLOWED_USERS:
        event = next(events([entry]))
        # One that is brought back gets its time of creation by a second entry.
        if {each.field for each in event.differences} != {"created_at"}:
            parts = describe_parts(event, limit=_MAX_VALUE)
    text = local_list(map(str, parts), _MAX_PARTS) if parts else of_new
    actor = short(actor_text(entry, names), _MAX_ACTOR)
    return cell_html(
        '<span title="{0}">{0}</span><small>{1} · <span title="{2}">{2}</span></small>',
        text,
        time_cell(entry.at),
        actor,
    )


def actor_text(event: Authored, names: Names) -> str:
    """Returns who made a change; without an actor, what is known instead."""
    if event.actor is None and event.source:
        return say("no name given").local
    if event.actor is None:
        return say("database user {user}, by SQL or code", user=event.session_user).local
    return describe_actor(event, names)


def short(text: str, limit: int = _MAX_DESCRIPTION) -> str:
    """Returns the start of a text, with an ellipsis if it is longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def as_of(at: datetime) -> str:
    """Returns the time of what a job has computed, such as "as of Nov. 20, 2026, 14:00:00 CET"."""
    return say("as of {time}", time=local_time_text(at)).local


def time_html(at: datetime) -> SafeString:
    """Returns a time, and the time since then."""
    html = '<time datetime="{}">{} · {}</time>'
    return format_html(html, aware(at).isoformat(), local_time_text(at), ago(at))


def time_cell(time: datetime | None) -> str:
    """Returns the time since then, with the date and time as a tooltip; empty without a time.

    For the narrow columns of lists. To localize the tooltips of 500 rows takes too long.
    """
    if time is None:
        return ""
    return cell_html(
        '<time datetime="{}" title="{}">{}</time>',
        time.isoformat(),
        full_time(time),
        ago(time),
    )
