"""The buttons beside an event: undo it, or everything that its transaction did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.history.event_cells import EventRow, RelatedChanges, event_rows
from flagstaff.admin.links import may_view
from flagstaff.admin.recent_changes.urls import event_url, transaction_url, undo_url
from flagstaff.admin.undo.permissions import Write, may_write_kind
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import Change, Event, undone_by

_MAX_KEYS_SHOWN = 5
# A transaction may have changed all flags, and a page shows many transactions.
_MAX_ENTRIES = 300
_COLUMNS = ("transaction_id", "relation", "object_pk", "key", "action", "hidden")


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
    undone, shown = undone_by(entries), {entry.pk for entry in entries}
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


class _ChangedRow(NamedTuple):
    """What a transaction did to one row."""

    kind: Kind
    pk: str
    key: str
    #: The id of its newest entry about the row.
    version: int
    #: What an undo does to the row; None if the history does not store what it was.
    write: Write | None
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
    visible = {kind for kind in Kind if may_view(site, request, kind.model)}
    may_write = cache(partial(may_write_kind, site, request))
    related = {}
    for event in events:
        rows, is_exact = by_transaction[event.transaction_id]
        if len(rows) == 1:
            continue
        may_undo = event.version not in undone and all(
            row.write is not None and may_write(row.kind, row.write) for row in rows
        )
        url = transaction_url(site, event.version, back) if may_undo else ""
        own = Kind(event.kind), event.object_pk
        others = [row for row in rows if row[:2] != own and row.kind in visible]
        keys = [
            (row.key, "" if row.is_deleted else event_url(site, row.kind, row.pk, row.version))
            for row in others[:_MAX_KEYS_SHOWN]
        ]
        related[event.version] = RelatedChanges(keys, len(rows), is_exact, url)
    return related


def changed_rows(events: Sequence[Event]) -> Mapping[int, tuple[list[_ChangedRow], bool]]:
    """Returns the rows that each transaction changed, by key, and whether they are all. One query.

    At most 300 entries of each transaction are read.
    """
    newest = {event.transaction_id: event.entries[0] for event in events}
    # Unordered, so that the server reads no index of the ids alone until it has found enough.
    each = [
        Change.objects.in_transaction(entry).order_by().only(*_COLUMNS)[: _MAX_ENTRIES + 1]
        for entry in newest.values()
    ]
    found: Iterable[Change] = each[0] if len(each) == 1 else ()
    if len(each) > 1:
        found = each[0].union(*each[1:], all=True).order_by()
    by_row: dict[int, dict[tuple[Kind, str], list[Change]]] = {pk: {} for pk in newest}
    counts = dict.fromkeys(newest, 0)
    for entry in found:
        counts[entry.transaction_id] += 1
        rows = by_row[entry.transaction_id]
        rows.setdefault((entry.kind, entry.object_pk), []).append(entry)
    return {
        transaction: (
            sorted(map(_changed_row, rows.values()), key=lambda row: (row.kind.value, row.key)),
            counts[transaction] <= _MAX_ENTRIES,
        )
        for transaction, rows in by_row.items()
    }


def _changed_row(entries: Iterable[Change]) -> _ChangedRow:
    in_order = sorted(entries, key=lambda entry: entry.pk)
    newest = in_order[-1]
    # SQL may write the allowed users before their flag.
    rows = [entry for entry in in_order if entry.relation != ALLOWED_USERS]
    creates = bool(rows) and rows[0].action == Change.Action.INSERT
    deletes = bool(rows) and rows[-1].is_deletion
    # To undo a creation is to delete, to undo a deletion is to add.
    write: Write | None = "change" if creates is deletes else "delete" if creates else "add"
    if not creates and any(entry.hidden for entry in rows):
        write = None
    return _ChangedRow(newest.kind, newest.object_pk, newest.key, newest.pk, write, deletes)
