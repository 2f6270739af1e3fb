"""The buttons beside an event: undo it, or everything that its transaction did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.db import connections
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.names import own_names, query
from flagstaff._words.times import aware
from flagstaff.actions.rights import TOGGLE_FIELDS, Right
from flagstaff.admin.history.event_cells import EventRow, RelatedChanges, event_rows
from flagstaff.admin.recent_changes.urls import event_url, transaction_url, undo_url
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.conf import conf
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import Event, undone_by, undos_of

_MAX_KEYS_SHOWN = 5
# A transaction may have changed all flags, and a page shows many transactions.
_MAX_ENTRIES = 100


def rows_with_buttons(
    site: AdminSite,
    request: HttpRequest,
    events: Sequence[Event],
    may_undo: Callable[[Event], bool],
    *,
    back: str | None = None,
) -> list[EventRow]:
    """Returns the rows of events with the buttons to undo them. Few queries.

    `may_undo` says whether the user may undo an event. `back` is the query of the list to which an
    undo returns.
    """
    entries = [entry for event in events for entry in event.entries]
    undone, shown = undone_by(undos_of(entries)), {entry.pk for entry in entries}
    related = _related_changes(site, request, events, undone, back)
    rows = []
    for event, row in zip(events, event_rows(request, events, undone), strict=True):
        undo = undone.get(event.version)
        is_lost = event.action != "create" and any(one.secret for one in event.differences)
        may = not is_lost and may_undo(event)
        rows.append(
            replace(
                row,
                may_select=may and undo is None,
                # Without the event, the undo of its undo would do it again.
                is_one_of_all=may and (undo is None or undo.pk in shown),
                undo_url=undo_url(site, [event.version], back) if may and undo is None else "",
                undo_label=_("Bring back…") if event.action == "delete" else _("Undo…"),
                related=related.get(event.version),
            )
        )
    return rows


def right_to_undo(event: Event) -> Right:
    """Returns the right that the undo of an event needs."""
    if event.action == "delete":
        return "add"
    if event.action == "create":
        return "delete"
    fields = {one.field for one in event.differences}
    has_users = bool(event.added.count or event.removed.count)
    toggles = event.kind == Kind.FLAG.value and fields <= TOGGLE_FIELDS and not has_users
    return "toggle" if toggles else "change"


def may_of_kind(site: AdminSite, request: HttpRequest, kind: Kind, right: Right) -> bool:
    """Returns whether the user may view rows of a kind, and has the right for some of them."""
    rights: tuple[Right, ...] = ("view", right)
    return all(may(site, request, one, kind.model) for one in rights)


class _Entry(NamedTuple):
    """What is read of an entry. A model would take most of the time of a page."""

    id: int
    relation: str
    key: str
    action: str
    is_hidden: bool


class _ChangedRow(NamedTuple):
    """What a transaction did to one row."""

    kind: Kind
    pk: str
    key: str
    #: The id of its newest entry about the row.
    version: int
    #: What an undo needs; None if the history does not store what the row was.
    right: Right | None
    is_deleted: bool


def _related_changes(
    site: AdminSite,
    request: HttpRequest,
    events: Sequence[Event],
    undone: Collection[int],
    back: str | None,
) -> dict[int, RelatedChanges]:
    """Related changes by version, for the events whose transaction changed other rows too.

    Asks for each permission once.
    """
    by_transaction = changed_rows(events)
    ask = cache(partial(may_of_kind, site, request))
    hidden = {
        kind: hidden_rows(site, request, kind.model)
        for kind in Kind
        if may(site, request, "view", kind.model)
    }

    def sees(row: _ChangedRow) -> bool:
        return row.kind in hidden and row.pk not in hidden[row.kind]

    related = {}
    for event in events:
        rows, is_exact = by_transaction[event.transaction_id]
        if len(rows) == 1:
            continue
        may_undo = event.version not in undone and all(
            row.right and ask(row.kind, row.right) and sees(row) for row in rows
        )
        url = transaction_url(site, event.version, back) if may_undo else ""
        own = Kind(event.kind), event.object_pk
        others = [row for row in rows if row[:2] != own and sees(row)]
        keys = [
            (row.key, "" if row.is_deleted else event_url(site, row.kind, row.pk, row.version))
            for row in others[:_MAX_KEYS_SHOWN]
        ]
        related[event.version] = RelatedChanges(keys, len(rows), is_exact, url)
    return related


def changed_rows(events: Sequence[Event]) -> Mapping[int, tuple[list[_ChangedRow], bool]]:
    """Returns the rows that each transaction changed, by key, and whether they are all. One query.

    At most 100 entries of each transaction are read.
    """
    times = {event.transaction_id: aware(event.at) for event in events}
    connection = connections[conf.database]
    quote = connection.ops.quote_name
    parameters: dict[str, Any] = {
        "transactions": list(times),
        "times": list(times.values()),
        "limit": _MAX_ENTRIES + 1,
        "tables": [quote(kind.model._meta.db_table) for kind in Kind],
    }
    by_row: dict[int, dict[tuple[Kind, str], list[_Entry]]] = {pk: {} for pk in times}
    counts = dict.fromkeys(times, 0)
    rows = query(connection, "transactions_v1", own_names(connection), parameters)
    for transaction, pk, *values in rows:
        entry = _Entry(*values)
        counts[transaction] += 1
        row = Kind.of(entry.relation), pk
        by_row[transaction].setdefault(row, []).append(entry)
    return {
        transaction: (
            sorted(
                (_changed_row(*row, entries) for row, entries in rows.items()),
                key=lambda row: (row.kind.value, row.key),
            ),
            counts[transaction] <= _MAX_ENTRIES,
        )
        for transaction, rows in by_row.items()
    }


def _changed_row(kind: Kind, pk: str, oldest_first: Sequence[_Entry]) -> _ChangedRow:
    newest = oldest_first[-1]
    # SQL may write the allowed users before their flag.
    rows = [entry for entry in oldest_first if entry.relation != ALLOWED_USERS]
    creates = bool(rows) and rows[0].action == "insert"
    deletes = bool(rows) and rows[-1].action in {"delete", "truncate"}
    # To undo a creation is to delete, to undo a deletion is to add.
    right: Right | None = "change" if creates is deletes else "delete" if creates else "add"
    if not creates and any(entry.is_hidden for entry in rows):
        right = None
    return _ChangedRow(kind, pk, newest.key, newest.id, right, deletes)
