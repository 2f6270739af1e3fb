"""Links to the page of recent changes from other pages; empty where the site has no such page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff.admin.links import page_url
from flagstaff.admin.menu import page_link, page_path
from flagstaff.history.kinds import Kind

#: The parameter of a history: the version to restore.
RESTORE = "restore"
#: The parameters of the page: events to undo, any entry of a transaction to undo, and the query of
#: the list to return to.
UNDO_EVENTS, UNDO_TRANSACTION, BACK = "undo", "undo-transaction", "back"


def list_url(site: AdminSite, request: HttpRequest) -> str:
    """Returns the URL of the list, with the filters that it had before a page below it."""
    url, back = page_path(site, "changes"), request.GET.get(BACK, "")
    return f"{url}?{back}" if back else url


def undo_url(site: AdminSite, versions: Iterable[int], back: str | None = None) -> str:
    """Returns the URL of the page that undoes these events. `back` is a query of the list."""
    return _url(site, [(UNDO_EVENTS, str(version)) for version in versions], back)


def transaction_url(site: AdminSite, version: int, back: str | None = None) -> str:
    """Returns the URL of the page that undoes the transaction of an event."""
    return _url(site, [(UNDO_TRANSACTION, str(version))], back)


def event_url(site: AdminSite, kind: Kind, pk: str, version: int) -> str:
    """Returns the URL of an event in the history of an existing row."""
    return f"{page_url(site, kind.model, 'history', pk)}#version-{version}"


def restore_url(site: AdminSite, kind: Kind, pk: object, version: int) -> str:
    """Returns the URL of the page that restores a version of an existing row."""
    return f"{page_url(site, kind.model, 'history', pk)}?{urlencode({RESTORE: version})}"


def deleted_url(site: AdminSite, request: HttpRequest, text: str) -> str:
    """Returns the URL of the deleted flags whose key has this text; "" without a text."""
    if not text or not page_link(site, request, "changes"):
        return ""
    return _url(site, [("key", text), ("kind", Kind.FLAG.value), ("action", "delete")])


def key_url(site: AdminSite, kind: Kind, key: str) -> str:
    """Returns the URL of the whole history of a key, which also a deleted row has."""
    return _url(site, [("key", key), ("exact", "1"), ("kind", kind.value)])


def day_query(day: date) -> list[tuple[str, str]]:
    """Returns the parameters that select the changes of a day."""
    return [("time", "range"), ("from", day.isoformat()), ("to", day.isoformat())]


def actor_url(site: AdminSite, actor: str, day: date) -> str:
    """Returns the URL of the changes by an actor on a day."""
    return _url(site, [("actor", actor), *day_query(day)])


def _url(site: AdminSite, query: list[tuple[str, str]], back: str | None = None) -> str:
    url = page_path(site, "changes")
    if not query or not url:
        return ""
    pairs = query if back is None else [*query, (BACK, back)]
    return f"{url}?{urlencode(pairs)}"
