"""Changes of one transaction on the history page, and the permission to undo all of them."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.rows import all_rows
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.release_rights import require_release
from flagstaff.admin.undo_permissions import Write, may_write
from flagstaff.changes import Changed, undo_transaction
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.undo_transactions import parts_without_value
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import Event
from flagstaff.history.describe import describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.transactions import Part, Together, changes_together
from flagstaff.history.user_names import names_of_users

_MAX_KEYS_SHOWN = 5


@dataclass(frozen=True)
class RelatedChanges:
    """The other flags, values and segments that an event's transaction changed."""

    #: Pairs of a key and the URL of its history; "" if the row was deleted.
    keys: tuple[tuple[str, str], ...]
    #: The number of changed rows that are not in `keys`.
    more: int
    #: The number of all changed rows, the event's own included. If it is not exact, there are more.
    count: int
    is_exact: bool
    may_undo: bool

    @property
    def label(self) -> str:
        """The label of the button that undoes all."""
        if not self.is_exact:
            return _("Undo all")
        text = ngettext("Undo all %(count)s", "Undo all %(count)s", self.count)
        return text % {"count": local_number(self.count)}

    @property
    def sentence(self) -> SafeString:
        """The keys as links. Whole sentences, because the order of words differs by language."""
        links = (
            format_html('<a href="{}">{}</a>', url, key) if url else key for key, url in self.keys
        )
        keys = format_html_join(", ", "{}", ([link] for link in links))
        if not self.is_exact:
            text = (
                _("changed together with {keys} and at least {count} more")
                if self.keys
                else _("changed together with at least {count} more")
            )
        elif not self.more:
            text = _("changed together with {keys}")
        elif self.keys:
            text = ngettext(
                "changed together with {keys} and {count} more",
                "changed together with {keys} and {count} more",
                self.more,
            )
        else:
            text = ngettext(
                "changed together with {count} more",
                "changed together with {count} more",
                self.more,
            )
        return format_html(text, keys=keys, count=self.more)


def related_changes(
    site: AdminSite, request: HttpRequest, events: Sequence[Event]
) -> dict[int, RelatedChanges]:
    """Related changes by version, for the events whose transaction changed other rows too.

    Few queries. Asks for each permission once.
    """
    together = changes_together(events, shown=_MAX_KEYS_SHOWN + 1)
    lost = parts_without_value([part for one in together.values() for part in one.secret])
    visible = {kind for kind in Kind if may_view(site, request, kind.model)}
    # Object permissions are checked when the button is pressed.
    samples = {(part.kind, _write(part)): part for one in together.values() for part in one.parts}
    allowed = {
        wanted: _may_undo_part(site, request, part, None) for wanted, part in samples.items()
    }
    may_undo = {
        number: lost.isdisjoint(one.secret)
        and all(allowed[part.kind, _write(part)] for part in one.parts)
        for number, one in together.items()
    }
    return {
        event.version: _related(
            site, event, found, visible, may_undo=may_undo[event.transaction_id]
        )
        for event in events
        if (found := together.get(event.transaction_id)) and found.count > 1
    }


def may_undo(site: AdminSite, request: HttpRequest, parts: Sequence[Part]) -> bool:
    """Whether the user may undo each part. Checks object permissions: a query for each part."""
    return all(_may_undo_part(site, request, part, _row(part)) for part in parts)


def undo_permitted(
    site: AdminSite, request: HttpRequest, parts: Sequence[Part], change: int
) -> list[Changed]:
    """Undoes a transaction, or nothing if the user may not release what it releases.

    Raises as `undo_transaction` and `require_release` do.
    """
    with transaction.atomic(using=conf.database):
        done = undo_transaction(change)
        require_release(site, request, _by_kind(parts, done))
    return done


def preview_transaction(
    site: AdminSite, request: HttpRequest, parts: Sequence[Part], change: int
) -> tuple[list[tuple[Kind, Changed]], str]:
    """Returns what `undo_permitted` would do, and why it is refused; empty if it is not.

    Rolls back what it writes. Raises PermissionDenied.
    """
    planned: list[tuple[Kind, Changed]] = []
    try:
        with rolled_back():
            planned = _by_kind(parts, undo_transaction(change, force=True))
            require_release(site, request, planned)
    except FlagstaffError as error:
        return planned, localized(error.message)
    return planned, ""


def described_parts(
    parts: Sequence[Part], *, with_users: bool, limit: int
) -> list[tuple[Part, str]]:
    """Each part with a description of its changes; `limit` is the length of each value."""
    described = []
    for part in parts:
        events = events_of(
            part.kind, part.pk, after=part.first - 1, before=part.last + 1, shorten=True
        )
        names = names_of_users(events) if with_users else None
        text = "; ".join(describe_change(event, names, limit=limit) for event in reversed(events))
        described.append((part, text))
    return described


def _by_kind(parts: Sequence[Part], done: Sequence[Changed]) -> list[tuple[Kind, Changed]]:
    """What was written, with the kind of each row."""
    pairs = zip(parts, done, strict=True)
    return [(part.kind, changed) for part, changed in pairs if changed.written]


def _related(
    site: AdminSite, event: Event, together: Together, visible: AbstractSet[Kind], *, may_undo: bool
) -> RelatedChanges:
    own = Kind(event.kind), event.object_pk
    others = [part for part in together.parts if (part.kind, part.pk) != own]
    shown = [part for part in others if part.kind in visible][:_MAX_KEYS_SHOWN]
    keys = tuple((part.key, _history_url(site, part)) for part in shown)
    count = together.count
    return RelatedChanges(keys, count - 1 - len(keys), count, together.is_exact, may_undo)


def _may_undo_part(site: AdminSite, request: HttpRequest, part: Part, row: Model | None) -> bool:
    """Whether the user may undo the part. The page before an undo shows the row."""
    admin = admin_of(site, part.kind.model)
    if admin is None or not admin.has_view_permission(request, row):
        return False
    return may_write(admin, request, _write(part), row)


def _write(part: Part) -> Write:
    """To undo a creation is to delete, to undo a deletion is to add."""
    if part.creates and not part.deletes:
        return "delete"
    return "add" if part.deletes and not part.creates else "change"


def _row(part: Part) -> Model | None:
    return all_rows(part.kind.model).filter(pk=part.pk).first()


def _history_url(site: AdminSite, part: Part) -> str:
    if part.deletes:
        return ""
    return f"{page_url(site, part.kind.model, 'history', part.pk)}#version-{part.last}"
