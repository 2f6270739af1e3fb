"""Links to the page of recent changes from other pages; empty where the site has no such page."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.history.kinds import Kind
from flagstaff.models import RecentChange

#: The parameters of the page: events to undo, any entry of a transaction to undo, and the query of
#: the list to return to.
UNDO_EVENTS, UNDO_TRANSACTION, BACK = "undo", "undo-transaction", "back"


def list_url(site: AdminSite, request: HttpRequest) -> str:
    """Returns the URL of the page, if the user may open it."""
    if not may_view(site, request, RecentChange):
        return ""
    return page_url(site, RecentChange, "changelist")


def undo_url(site: AdminSite, versions: Iterable[int], back: str = "") -> str:
    """Returns the URL of the page that undoes these events."""
    if admin_of(site, RecentChange) is None:
        return ""
    query = [(UNDO_EVENTS, str(version)) for version in versions]
    return _url(site, query, back)


def transaction_url(site: AdminSite, version: int, back: str = "") -> str:
    """Returns the URL of the page that undoes the transaction of an event."""
    return _url(site, [(UNDO_TRANSACTION, str(version))], back)


def deleted_url(site: AdminSite, request: HttpRequest, text: str) -> str:
    """Returns the URL of the deleted flags whose key has this text; "" without a text."""
    if not text or not may_view(site, request, RecentChange):
        return ""
    query = [("key", text), ("kind", Kind.FLAG.value), ("action", "delete")]
    return _url(site, query, "")


def key_url(site: AdminSite, kind: Kind, key: str) -> str:
    """Returns the URL of the whole history of a key, which also a deleted row has."""
    if admin_of(site, RecentChange) is None:
        return ""
    return _url(site, [("key", key), ("exact", "1"), ("kind", kind.value)], "")


def _url(site: AdminSite, query: list[tuple[str, str]], back: str) -> str:
    pairs = [*query, *([(BACK, back)] if back else [])]
    return f"{page_url(site, RecentChange, 'changelist')}?{urlencode(pairs)}"
