"""The other changes of an event's transaction, and the link that undoes all of them."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.local_formats import local_number
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.recent_changes.urls import transaction_url
from flagstaff.admin.undo.permissions import Write, may_write
from flagstaff.changes.lost_values import parts_without_value
from flagstaff.history import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import Part, Together, changes_together

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
    #: The page that undoes all of them; "" if the user may not, or if it is not possible.
    undo_url: str

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
    site: AdminSite, request: HttpRequest, events: Sequence[Event], back: str | None = None
) -> dict[int, RelatedChanges]:
    """Related changes by version, for the events whose transaction changed other rows too.

    `back` is the query of the list to which an undo returns. Few queries. Asks for each permission
    once.
    """
    together = changes_together(events, max_parts=_MAX_KEYS_SHOWN + 1)
    lost = parts_without_value(
        [part for transaction in together.values() for part in transaction.secret]
    )
    visible = {kind for kind in Kind if may_view(site, request, kind.model)}
    # Object permissions are checked by the page of the undo.
    samples = {
        (part.kind, _write(part)): part
        for transaction in together.values()
        for part in transaction.parts
    }
    allowed = {sample: _may_undo_part(site, request, part) for sample, part in samples.items()}
    may_undo = {
        number: lost.isdisjoint(transaction.secret)
        and all(allowed[part.kind, _write(part)] for part in transaction.parts)
        for number, transaction in together.items()
    }
    return {
        event.version: _related(
            site,
            event,
            transaction,
            visible,
            transaction_url(site, event.version, back) if may_undo[event.transaction_id] else "",
        )
        for event in events
        if (transaction := together.get(event.transaction_id)) and transaction.count > 1
    }


def _related(
    site: AdminSite, event: Event, together: Together, visible: AbstractSet[Kind], undo_url: str
) -> RelatedChanges:
    own = Kind(event.kind), event.object_pk
    other_parts = [part for part in together.parts if (part.kind, part.pk) != own]
    visible_parts = [part for part in other_parts if part.kind in visible][:_MAX_KEYS_SHOWN]
    keys = tuple((part.key, _history_url(site, part)) for part in visible_parts)
    count = together.count
    return RelatedChanges(keys, count - 1 - len(keys), count, together.is_exact, undo_url)


def _may_undo_part(site: AdminSite, request: HttpRequest, part: Part) -> bool:
    """Whether the user may undo such parts. The page before an undo shows the row."""
    admin = admin_of(site, part.kind.model)
    if admin is None or not admin.has_view_permission(request):
        return False
    return may_write(admin, request, _write(part))


def _write(part: Part) -> Write:
    """To undo a creation is to delete, to undo a deletion is to add."""
    if part.creates and not part.deletes:
        return "delete"
    return "add" if part.deletes and not part.creates else "change"


def _history_url(site: AdminSite, part: Part) -> str:
    if part.deletes:
        return ""
    return f"{page_url(site, part.kind.model, 'history', part.pk)}#version-{part.last}"
