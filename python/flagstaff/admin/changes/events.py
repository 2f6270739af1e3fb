"""Events in two lines, with their buttons: on the page of changes, and on the page of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import TextField, Value
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import override

from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, all_rows, declaration
from flagstaff._tables.user_lookup import DELETED_USER, LOADDATA, actor_table
from flagstaff._text import StoredText, say
from flagstaff._text.times import aware, local_time_text
from flagstaff.actions.table import right_to_undo
from flagstaff.admin.links import RESTORE, changes_url, history_url, page_url, undo_url
from flagstaff.admin.looks import MAX_TEXT
from flagstaff.admin.rights import admin_of, may
from flagstaff.admin.words import KIND_LABELS, actor_text, joined, key_link, time_html
from flagstaff.history.describe import (
    Authored,
    ChangePart,
    Names,
    by_actor,
    describe_parts,
    field_label,
    may_see_users,
    names_in,
    names_of_actors,
    source_label,
)
from flagstaff.history.log import Change, Difference, Event, remaining, undone_by, version_of

# A character that ends a sentence or a bracket is not part of the URL.
_ADDRESS = re.compile(r"(https?://[^\s<>\"']*[^\s<>\"'/.,;:!?)\]}]/*)")
# The text was truncated here, so the URL is not complete.
_CUT = "…"
# A transaction may have changed all flags, and a page shows many transactions.
_MAX_ENTRIES = 100
# What a line says of a new row: what decides, and for whom. Its page has the other fields.
_OF_NEW = ("enabled", "rollout_percent", "rules", "conditions", "value", "secret", "bucket_by")


@dataclass(frozen=True)
class EventRow:
    """An event in two lines, as `flagstaff/event.html` shows it."""

    at: datetime
    change: SafeString | str
    #: By whom, where, when and why it was made, and what became of it.
    details: SafeString
    #: The key as a link to its page, and what it is; empty on the page of the row itself.
    subject: SafeString | str = ""
    key: str = ""
    #: The version as a text; of an event of an optional app, the one that it wrote, or empty.
    version: str = ""
    #: The URLs and labels of what the user may do.
    links: Sequence[tuple[str, str]] = ()
    #: Whether the user may undo it, alone or with others; also if that was done already.
    may_undo: bool = False
    #: Whether it can be selected: an undo of all that is shown counts it.
    is_selectable: bool = False
    #: Why it cannot be selected, although it has an undo of its own.
    why_not_selectable: str = ""

    @property
    def time(self) -> str:
        """The date and time, with the time zone."""
        return local_time_text(self.at)


def event_rows(
    site: AdminSite,
    request: HttpRequest,
    events: Sequence[Event],
    *,
    row: Any = None,
    history_of: Any = None,
) -> list[EventRow]:
    """Returns the rows of events, with the buttons that the user may use. Few queries.

    `row` is the one whose page shows them: they do not name it. `history_of` is the one that can be
    restored.
    """
    existing = _existing(events) if row is None else set()
    versions = range(0)
    if history_of is not None and events and may(site, request, "change", history_of):
        versions = _restorable(Kind(events[0].kind), history_of)
    undone = undone_by([entry for event in events for entry in event.entries])
    undos, shown = [*undone.values()], {entry.pk for event in events for entry in event.entries}
    users: Mapping[str, str] | None = None
    if may_see_users(request.user):
        actors, users = names_in(events, undos)
    else:
        actors = names_of_actors([*events, *undos])
    # Asked once for each right: a project's own admin may query.
    ask = cache(
        lambda right, kind: all(
            may(site, request, needed, row or kind.model) for needed in ("view", right)
        )
    )
    others = others_of(events)

    def shown_row(event: Event) -> EventRow:
        version, undo, kind = event.version, undone.get(event.version), Kind(event.kind)
        exists = row is not None or (event.kind, event.object_pk) in existing
        is_deletion = event.action == "delete"
        # What a secret value was is not stored.
        is_lost = event.action != "create" and any(
            difference.secret for difference in event.differences
        )
        # Without a deletion, an undo of its undo cannot go on to what was changed before.
        is_present = (not exists or undo is not None) if is_deletion else exists
        # Nobody asked for this row.
        is_loaded = event.action == "create" and event.source == LOADDATA
        may_undo = is_present and not (is_lost or is_loaded) and ask(right_to_undo(event), kind)
        links = []
        if may_undo and not undo:
            label = say("Bring back…").local if is_deletion else say("Undo…").local
            links.append((undo_url(site, [version]), label))
        is_of_row = history_of is not None and event.object_pk == str(history_of.pk)
        if version in versions and is_of_row and not is_deletion:
            links.append((changes_url(site, {RESTORE: version}), say("Restore this state…").local))
        together = others.get(event.transaction_id, "")
        url = changes_url(site, {"transaction": version})
        details = _details(
            _author(event, actors),
            aware(event.at),
            event.reason or "",
            together and format_html('<a href="{}">{}</a>', url, together),
            _undone_html(undo, actors),
            database_user=event.session_user,
        )
        event_row = EventRow(
            aware(event.at),
            _change_html(event, users),
            details,
            version=str(version),
            links=links,
            # Without the event, the undo of its undo would do it again.
            may_undo=may_undo and (undo is None or undo.pk in shown),
        )
        if row is not None:
            return event_row
        label = "" if kind is Kind.FLAG else str(KIND_LABELS[kind])
        state = ""
        if not exists:
            is_declared = declaration(kind.model, event.key) is not None
            state = "" if is_declared else say("no longer exists").local
        return with_subject(event_row, event.key, _url_of(site, event, exists=exists), label, state)

    rows = [*map(shown_row, events)]
    # The page of an undo gets these, and counts them in the same way.
    together = [event for event, event_row in zip(events, rows, strict=True) if event_row.may_undo]
    counted = {event.version for event in remaining(together, undone)}
    # A selection of all boxes is the undo of all. With such an undo, it would do a change again.
    why_not = say("cannot be selected: it is the undo of a change on this page").local
    alone = {event.version for event in together} - counted - undone.keys()
    return [
        replace(
            event_row,
            is_selectable=event.version in counted,
            why_not_selectable=why_not if event.version in alone else "",
        )
        for event, event_row in zip(events, rows, strict=True)
    ]


def with_subject(row: EventRow, key: str, url: str, *quiet: str) -> EventRow:
    """Returns a row that begins with a key and quiet texts, such as the kind."""
    texts = ", ".join(filter(None, quiet))
    more = format_html(' <span class="flagstaff-quiet">{}</span>', texts) if texts else ""
    return replace(row, key=key, subject=format_html("{}{} ", key_link(key, url), more))


def _details(
    author: str, at: datetime, reason: str, *others: str, database_user: str = ""
) -> SafeString:
    title = say("database user {user}", user=database_user).local if database_user else ""
    parts = (
        format_html('<span title="{}">{}</span>', title, author),
        time_html(at),
        reason and say("“{text}”", text=with_links(reason)).html,
        *others,
    )
    return joined(" · ", parts)


def _url_of(site: AdminSite, event: Event, *, exists: bool) -> str:
    """Returns the page of the row of an event, or else its history."""
    kind = Kind(event.kind)
    if exists and admin_of(site, kind.model) is not None:
        return page_url(site, kind.model, "change", event.object_pk)
    return history_url(site, kind, event.key)


def _existing(events: Sequence[Event]) -> set[tuple[str, str]]:
    """The rows of these events that exist, by kind and the text of their primary key. One query."""
    queries = []
    for kind in Kind:
        pks = {event.object_pk for event in events if event.kind == kind.value}
        # As texts: the type of the primary key may have changed since.
        rows = all_rows(kind.model).annotate(flagstaff_pk=Cast("pk", TextField())).order_by()
        queries.append(
            rows.filter(flagstaff_pk__in=pks).values_list(Value(kind.value), "flagstaff_pk")
        )
    # The newest Django orders even a union by the fields of the model.
    return {*queries[0].union(*queries[1:], all=True).order_by()}


def _restorable(kind: Kind, row: Any) -> range:
    """Returns which versions of a row can be restored. Two queries.

    Not the newest one, and none before a change whose values are not stored.
    """
    hidden = Change.objects.of_row(kind, row.pk).filter(hidden__isnull=False).newest()
    lost = hidden.values_list("id", flat=True).first() or 0
    return range(lost, version_of(kind, row.pk) or 0)


def rows_of_app(events: Sequence[Any]) -> list[EventRow]:
    """Returns the rows of events of an optional app, which nothing undoes. One query."""
    actors = {event.actor for event in events if event.actor}
    names = actor_table().names(actors) if actors else {}

    def shown_row(event: Any) -> EventRow:
        author, at = _author_of_app(event, names), aware(event.at)
        # Plans have no reasons, and experiments write no flags.
        details = _details(author, at, getattr(event, "reason", ""))
        version = getattr(event, "written_version", None)
        return EventRow(at, _event_text(event), details, version=str(version or ""))

    return [*map(shown_row, events)]


def _author(event: Authored, names: Names) -> str:
    """Returns by whom and where a change was made, such as "by ana, in the admin"."""
    actor = actor_text(event, names)
    author = actor if event.actor is None else by_actor(actor)
    return ", ".join(filter(None, [author, source_label(event.source or "")]))


def _author_of_app(event: Any, names: Names) -> str:
    """Returns by whom an event of an app was made: a user, a name, or the app itself."""
    if getattr(event, "is_automatic", False):
        return say("automatically").local
    if event.actor == DELETED_USER:
        return say("by a deleted user").local
    if not event.actor:
        return say("no name given").local
    # A command without a user has left its source: the user of the system, and the machine.
    if event.actor not in names and event.actor.startswith("command ("):
        return source_label(event.actor)
    return by_actor(names.get(event.actor, event.actor))


def as_one_act(change: EventRow, event: EventRow, label: SafeString | str) -> EventRow:
    """Returns one row of a change and the event of an app that wrote it, which has this label."""
    heading = event.change.partition(":")[0]
    return replace(change, change=format_html("{}: {}, {}", label, heading, change.change))


def _event_text(event: Any) -> SafeString | str:
    """Returns the kind of an event and its text. Other languages quote it: it is in English."""
    kind = event.get_kind_display()
    with override("en"):
        english = event.get_kind_display()
    text = event.message.removeprefix(f"{english}: ")
    if kind != english:
        return kind if text == english else format_html("{}: {}", kind, StoredText(text))
    return text if text.casefold().startswith(kind.casefold()) else f"{kind}: {text}"


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
    return joined("", parts)


def others_of(events: Sequence[Event]) -> dict[int, str]:
    """Returns how many other rows each transaction has changed; nothing for none. One query."""
    times = {event.transaction_id: aware(event.at) for event in events}
    parameters: dict[str, Any] = {
        "transactions": list(times),
        "times": list(times.values()),
        "limit": _MAX_ENTRIES + 1,
        "tables": [db.table(kind.model) for kind in Kind],
    }
    rows = db.query("transactions_v1", parameters)
    texts = {}
    for transaction, count, entries in rows:
        text = say("with {count} other", "with {count} others")
        if entries > _MAX_ENTRIES:
            text = say("with at least {count} others")
        texts[transaction] = say(text, count=count - 1).local if count > 1 else ""
    return texts


def _undone_html(undo: Change | None, actors: Names) -> SafeString | str:
    if undo is None:
        return ""
    values = {"time": local_time_text(undo.at), "author": _author(undo, actors)}
    text = say("undone {time}, {author}", **values).local
    return format_html("<strong>{}</strong>", text)


def _change_html(event: Event, users: Names | None) -> SafeString:
    """Returns what was changed, with the values in bold. The kind says that a value is one."""
    if event.action == "create":
        fields = (difference for difference in event.differences if difference.field in _OF_NEW)
        event = replace(event, differences=tuple(fields))
    elif event.action == "change":
        event = replace(event, differences=_without_declared(event))
    parts = describe_parts(event, users, limit=MAX_TEXT)
    label = field_label("value") if (event.kind, event.action) == ("value", "change") else None
    shown = (part._replace(words="") if part.words == label else part for part in parts)
    # It is new in every field.
    return joined(", ", map(str if event.action == "create" else _part_html, shown))


def _without_declared(event: Event) -> tuple[Difference, ...]:
    """Returns what a person changed: the change has also written what code declares of the row."""
    declared = declaration(Kind(event.kind).model, event.key)
    owned = {} if declared is None else declared.owned
    changed = tuple(
        difference
        for difference in event.differences
        if difference.field not in owned or difference.new != owned[difference.field]
    )
    # Without anything else, it is what was changed.
    return changed or event.differences


def _part_html(part: ChangePart) -> SafeString | str:
    html = "{} <strong>{}</strong>" if part.words else "{}<strong>{}</strong>"
    return format_html(html, *part) if part.values else part.words
