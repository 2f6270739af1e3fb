"""Events of the history as a page shows them to the user of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from flagstaff._words.local_formats import local_time_text
from flagstaff._words.truncated import local_truncated
from flagstaff.admin.confirmation import MAX_TEXT
from flagstaff.history import Event, Users
from flagstaff.history.describe import (
    describe_actor,
    describe_change,
    describe_json_change,
    source_label,
)
from flagstaff.history.export import csv_lines
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import read_events
from flagstaff.history.user_names import may_see_users, names_in, names_of_actors
from flagstaff.history.versions import entries
from flagstaff.history.whole_values import with_whole_values

_ADDRESS = re.compile(r"https?://[^\s<>\"']+")
# A character that ends a sentence or a bracket is not part of the URL.
_AFTER = ".,;:!?)]}"
# The text was truncated here, so the URL is not complete.
_CUT = "…"
# Characters of a whole value, which is folded: a page has up to 100 of them.
_MAX_WHOLE = 4_000


def with_links(text: str) -> SafeString:
    """Returns the text as HTML, with each http and https address as a link.

    >>> with_links("see https://example.com/7.")
    'see <a href="https://example.com/7" rel="noreferrer">https://example.com/7</a>.'
    """
    return mark_safe("".join(_parts(text)))  # noqa: S308 (each part is escaped)


def _parts(text: str) -> Iterator[str]:
    end = 0
    for found in _ADDRESS.finditer(text):
        address = found[0].rstrip(_AFTER)
        if _CUT in address or address.endswith("//"):
            continue
        yield conditional_escape(text[end : found.start()])
        yield format_html('<a href="{0}" rel="noreferrer">{0}</a>', address)
        end = found.start() + len(address)
    yield conditional_escape(text[end:])


def visible_events(  # noqa: PLR0913 (which row, which events, and how much of them)
    request: HttpRequest,
    kind: Kind,
    pk: object,
    *,
    before: int | None = None,
    limit: int | None = None,
    shorten: bool = True,
) -> Iterator[Event]:
    """Yields the events of a row, newest first, without users who may not be seen."""
    events = read_events(kind, entries(kind, pk), before=before, limit=limit, shorten=shorten)
    return events if may_see_users(request.user) else map(without_users, events)


def csv_response(events: Iterator[Event], filename: str) -> StreamingHttpResponse:
    """Returns the events as CSV, which is sent while they are read."""
    # A first event is read here, so that a problem is not in the middle of the response.
    first = list(islice(events, 1))
    lines = csv_lines(chain(first, events))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def event_cells(request: HttpRequest, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Returns the texts of each event, its reason as HTML.

    Queries the names of actors and users, and long values.
    """
    events = with_whole_values(events)
    may_see = may_see_users(request.user)
    actors: dict[str, str]
    users: dict[str, str] | None
    actors, users = names_in(events) if may_see else (names_of_actors(events), None)
    return [
        {
            "event": event,
            "version": str(event.version),
            "time": local_time_text(event.at),
            "actor": describe_actor(event, actors),
            "source": source_label(event.source),
            "reason": with_links(event.reason or ""),
            "change": describe_change(event, users, limit=MAX_TEXT),
            "whole": _whole_values(event),
        }
        for event in events
    ]


def _whole_values(event: Event) -> tuple[str, str] | None:
    """Returns the old and the new value if the change shows only what differs, or None."""
    for difference in event.differences if event.action == "change" else ():
        if (
            difference.field == "value"
            and describe_json_change(difference.old, difference.new) is not None
        ):
            return _indented(difference.old), _indented(difference.new)
    return None


def _indented(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return local_truncated(text, _MAX_WHOLE)


def without_users(event: Event) -> Event:
    """The event with the number of added and removed users, without their primary keys."""
    return replace(event, added=Users(event.added.count), removed=Users(event.removed.count))
