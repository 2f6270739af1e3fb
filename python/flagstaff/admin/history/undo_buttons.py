"""The buttons beside an event: undo it, or everything that its transaction did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache, partial

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.history.event_cells import EventRow, RelatedChanges, event_rows
from flagstaff.admin.links import may_view
from flagstaff.admin.recent_changes.urls import event_url, transaction_url, undo_url
from flagstaff.admin.undo.permissions import Write, may_write_kind
from flagstaff.changes.lost_values import parts_without_value
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Event
from flagstaff.history.transactions import Part, Together, changes_together
from flagstaff.history.undone import changed_again, undone_events

_MAX_KEYS_SHOWN = 5


def rows_with_buttons(  # noqa: PLR0913 (which events, for whom, and where an undo returns to)
    site: AdminSite,
    request: HttpRequest,
    events: Sequence[Event],
    may_undo: Callable[[Event], bool],
    *,
    are_newest: bool,
    back: str | None = None,
) -> list[EventRow]:
    """Returns the rows of events with the buttons to undo them. Few queries.

    `may_undo` says whether an event could be undone, if nothing is in its way. `are_newest`: no
    newer event of their rows is left out. `back` is the query of the list to which an undo returns.
    """
    undone = undone_events(events, are_newest=are_newest)
    refused = {*undone, *(changed_again(events) if are_newest else ())}
    related = _related_changes(site, request, events, refused, back)
    rows = []
    for event, row in zip(events, event_rows(request, events, undone), strict=True):
        may, undo = may_undo(event), undone.get(event.version)
        is_offered = may and event.version not in refused
        rows.append(
            replace(
                row,
                may_select=may and undo is None,
                # Without the event, the undo of its undo would do it again.
                is_one_of_all=may and (undo is None or any(undo.is_of(one) for one in events)),
                undo_url=undo_url(site, [event.version], back) if is_offered else "",
                undo_label=_("Bring back…") if event.action == "delete" else _("Undo…"),
                related=related.get(event.version),
            )
        )
    return rows


def _related_changes(
    site: AdminSite,
    request: HttpRequest,
    events: Sequence[Event],
    refused: Collection[int],
    back: str | None,
) -> dict[int, RelatedChanges]:
    """Related changes by version, for the events whose transaction changed other rows too.

    Asks for each permission once.
    """
    together = changes_together(events, max_parts=_MAX_KEYS_SHOWN + 1)
    lost = parts_without_value([part for one in together.values() for part in one.secret])
    visible = {kind for kind in Kind if may_view(site, request, kind.model)}
    may_write = cache(partial(may_write_kind, site, request))
    related = {}
    for event in events:
        one = together.get(event.transaction_id)
        if one is None or one.count == 1:
            continue
        may_undo = (
            event.version not in refused
            and lost.isdisjoint(one.secret)
            and all(may_write(part.kind, _write(part)) for part in one.parts)
        )
        url = transaction_url(site, event.version, back) if may_undo else ""
        keys = _keys(site, event, one, visible)
        related[event.version] = RelatedChanges(keys, one.count, one.is_exact, url)
    return related


def _write(part: Part) -> Write:
    """To undo a creation is to delete, to undo a deletion is to add."""
    if part.creates is part.deletes:
        return "change"
    return "delete" if part.creates else "add"


def _keys(
    site: AdminSite, event: Event, together: Together, visible: Collection[Kind]
) -> list[tuple[str, str]]:
    """The first other keys of a transaction that the user may see, with their histories."""
    own = Kind(event.kind), event.object_pk
    parts = [one for one in together.parts if (one.kind, one.pk) != own and one.kind in visible]
    return [
        (one.key, "" if one.deletes else event_url(site, one.kind, one.pk, one.last))
        for one in parts[:_MAX_KEYS_SHOWN]
    ]
