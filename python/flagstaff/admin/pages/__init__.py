"""The pages that are about no single row, and their URLs below the list of flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from flagstaff._connection.atomic_requests import outside_transactions
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.changes.page import RecentChanges
from flagstaff.admin.links import list_path
from flagstaff.admin.menu import PAGES, page_title
from flagstaff.admin.pages.overview import Overview
from flagstaff.admin.pages.search import Search
from flagstaff.admin.pages.stale import StaleFlags
from flagstaff.admin.pages.unknown_keys import UnknownKeys
from flagstaff.admin.pages.user import UserFlags
from flagstaff.admin.pages.workers import WorkersPage
from flagstaff.admin.table import Page

_CLASSES: Mapping[str, type[Page]] = {
    "overview": Overview,
    "changes": RecentChanges,
    "user": UserFlags,
    "unknown_keys": UnknownKeys,
    "workers": WorkersPage,
    "stale": StaleFlags,
    "search": Search,
}


def page_urls(flag_admin: BaseAdmin) -> Iterator[URLPattern]:
    """Yields the URLs of the pages."""
    for name, page in _CLASSES.items():
        view = partial(_view, flag_admin, name, page)
        # A page may wait for the workers, which do not see what a transaction has not committed.
        yield list_path(flag_admin, name, outside_transactions(view))


def _view(flag_admin: BaseAdmin, name: str, page: type[Page], request: HttpRequest) -> HttpResponse:
    if not PAGES[name].may_open(flag_admin.admin_site, request):
        raise PermissionDenied
    made = page(flag_admin, request, page_title(name))
    return made.post() if request.method == "POST" else made.get()
