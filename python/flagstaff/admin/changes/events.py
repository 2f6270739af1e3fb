"""Events in two lines, with their buttons: on the page of changes, and on the page of a row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from django.contrib.admin import AdminSite
from django.db import connections
from django.db.models import TextField, Value
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.names import own_names, query
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import local_number
from flagstaff._words.times import ago, aware, local_clock_text, local_time_text
from flagstaff.actions.rights import right_to_undo
from flagstaff.admin.changes.filters import KIND_LABELS
from flagstaff.admin.confirmation import MAX_TEXT
from flagstaff.admin.links import (
    RESTORE,
    admin_of,
    changes_url,
    history_url,
    page_url,
    undo_url,
)
from flagstaff.admin.rights import may
from flagstaff.conf import conf
from flagstaff.history.describe import (
    ChangePart,
    Names,
    describe_actor,
    describe_parts,
    field_label,
    source_label,
)
from flagstaff.history.differences import Users
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, undone_by, version_of
from flagstaff.history.user_names import may_see_users, names_in, names_of_actors

# A character that ends a sentence or a bracket is not part of the URL.
_ADDRESS = re.compile(r"(https?://[^\s<>\"']*[^\s<>\"'/.,;:!?)\]}]/*)")
# The text was truncated here, so the URL is not complete.
_CUT = "…"
# Characters of a whole value, which is folded: a page has up to 100 of them.
_MAX_WHOLE = 4_000
# A transaction may have changed all flags, and a page shows many transactions.
_MAX_ENTRIES = 100


@dataclass(frozen=True)
class EventRow:
    """An event in two lines, as `flagstaff/event.html` shows it."""

    at: datetime
    change: SafeString | str
    actor: str
    source: str = ""
    reason: SafeString | str = ""
    #: What a tooltip says about the actor.
    database_user: str = ""
    #: The version as a text; empty for events of optional apps.
    version: str = ""
    #: When the event was undone, and by whom; empty if it was not.
    undone: str = ""
    #: What else its transaction changed, and the page of these changes.
    others: str = ""
    others_url: str = ""
    #: The key, its page, and its kind if it is no flag; empty on the page of the row itself.
    key: str = ""
    url: str = ""
    kind: str = ""
    is_deleted: bool = False
    #: Whether the user may undo it, alone or with others; also if that was done already.
    may_undo: bool = False
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
    undos, shown = [*undone.values()], {one.pk for event in events for one in event.entries}
    users: Mapping[str, str] | None = None
    if may_see_users(request.user):
        actors, users = names_in(events, undos)
    else:
        actors = names_of_actors([*events, *undos])
    # Asked once for each right: a project's own admin may query.
    ask = cache(
        lambda right, kind: all(
            may(site, request, one, row or kind.model) for one in ("view", right)
        )
    )
    others, found = others_of(events), []
    for event in events:
        undo, kind = undone.get(event.version), Kind(event.kind)
        exists = row is not None or (event.kind, event.object_pk) in existing
        is_present = exists is not (event.action == "delete")
        # What a secret value was is not stored.
        is_lost = event.action != "create" and any(one.secret for one in event.differences)
        may_undo = is_present and not is_lost and ask(right_to_undo(event), kind)
        with_others = others.get(event.transaction_id, "")
        found.append(
            EventRow(
                at=aware(event.at),
                change=_change_html(event, users),
                actor=describe_actor(event, actors),
                source=source_label(event.source),
                reason=with_links(event.reason or ""),
                database_user=event.session_user,
                version=str(event.version),
                undone=_undone_text(undo, actors),
                others=with_others,
                others_url=changes_url(site, {"transaction": event.version}) if with_others else "",
                # Without the event, the undo of its undo would do it again.
                may_undo=may_undo and (undo is None or undo.pk in shown),
                undo_url=undo_url(site, [event.version]) if may_undo and not undo else "",
                undo_label=_("Bring back…") if event.action == "delete" else _("Undo…"),
                key="" if row else event.key,
                kind="" if row or kind is Kind.FLAG else str(KIND_LABELS[kind]),
                is_deleted=not exists,
                url="" if row else _url_of(site, event, exists=exists),
                restore_url=changes_url(site, {RESTORE: event.version})
                if event.version in versions
                and event.object_pk == str(history_of.pk)
                and event.action != "delete"
                else "",
            )
        )
    return found


def _url_of(site: AdminSite, event: Event, *, exists: bool) -> str:
    """Returns the page of the row of an event, or else its history."""
    kind = Kind(event.kind)
    if exists and admin_of(site, kind.model) is not None:
        return page_url(site, kind.model, "change", event.object_pk)
    return history_url(site, kind, event.key)


def _existing(events: Sequence[Event]) -> set[tuple[str, str]]:
    """The rows of these events that exist, by kind and the text of their primary key. One query."""
    found = []
    for kind in Kind:
        pks = {event.object_pk for event in events if event.kind == kind.value}
        # As texts: the type of the primary key may have changed since.
        rows = all_rows(kind.model).annotate(flagstaff_pk=Cast("pk", TextField())).order_by()
        found.append(
            rows.filter(flagstaff_pk__in=pks).values_list(Value(kind.value), "flagstaff_pk")
        )
    # The newest Django orders even a union by the fields of the model.
    return {*found[0].union(*found[1:], all=True).order_by()}


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
    return [
        EventRow(
            at=aware(event.at),
            change=_labelled(event.get_kind_display(), event.message),
            actor=names.get(event.actor, event.actor) or _("not known"),
            # Plans have none.
            reason=with_links(getattr(event, "reason", "")),
        )
        for event in events
    ]


def _labelled(kind: str, text: str) -> str:
    """Returns a text that begins with the kind of an event."""
    return text if text.casefold().startswith(kind.casefold()) else f"{kind}: {text}"


def without_hidden_users(request: HttpRequest, events: Iterator[Event]) -> Iterator[Event]:
    """Yields the events with the numbers of users only, if their names may not be seen."""
    if may_see_users(request.user):
        return events
    return (
        replace(event, added=Users(event.added.count), removed=Users(event.removed.count))
        for event in events
    )


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


def others_of(events: Sequence[Event]) -> dict[int, str]:
    """Returns how many other rows each transaction has changed; nothing for none. One query."""
    times = {event.transaction_id: aware(event.at) for event in events}
    connection = connections[conf.database]
    quote = connection.ops.quote_name
    parameters: dict[str, Any] = {
        "transactions": list(times),
        "times": list(times.values()),
        "limit": _MAX_ENTRIES + 1,
        "tables": [quote(kind.model._meta.db_table) for kind in Kind],
    }
    found = query(connection, "transactions_v1", own_names(connection), parameters)
    texts = {}
    for transaction, count, entries in found:
        text = ngettext("with %(count)s other", "with %(count)s others", count - 1)
        if entries > _MAX_ENTRIES:
            text = _("with at least %(count)s others")
        texts[transaction] = text % {"count": local_number(count - 1)} if count > 1 else ""
    return texts


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
