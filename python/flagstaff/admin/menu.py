"""The pages that are about no single row: their URLs, who may open them, and links to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps as django_apps
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from flagstaff.admin.app_pages import PAGES as PAGES_OF_APPS
from flagstaff.admin.links import may_view, page_path
from flagstaff.admin.rights import may
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

_APP = "flagstaff"


def _views_flags(site: AdminSite, request: HttpRequest) -> bool:
    return may(site, request, "view", conf.flag_model)


def _views_changes(site: AdminSite, request: HttpRequest) -> bool:
    return any(may(site, request, "view", kind.model) for kind in Kind)


def _views_anything(site: AdminSite, request: HttpRequest) -> bool:
    return _views_changes(site, request) or any(
        may_view(site, request, pages.model) for pages in PAGES_OF_APPS
    )


@dataclass(frozen=True)
class _Entry:
    title: str | Promise
    may_open: Callable[[AdminSite, HttpRequest], bool] = _views_flags
    is_in_menu: bool = True


#: By the name in the URL.
PAGES: Mapping[str, _Entry] = {
    "overview": _Entry(gettext_lazy("overview"), _views_anything),
    "changes": _Entry(gettext_lazy("recent changes"), _views_changes),
    "user": _Entry(gettext_lazy("flags of a user")),
    "unknown_keys": _Entry(gettext_lazy("unknown keys")),
    "workers": _Entry(gettext_lazy("workers")),
    "stale": _Entry(gettext_lazy("stale flags")),
    "search": _Entry(gettext_lazy("Search"), _views_anything, is_in_menu=False),
}


def page_link(site: AdminSite, request: HttpRequest, name: str) -> str:
    """Returns the URL of a page; "" if the user may not open it."""
    return page_path(site, name) if PAGES[name].may_open(site, request) else ""


def page_title(name: str) -> str:
    """Returns the title of a page."""
    return capfirst(str(PAGES[name].title))


def menu_links(site: AdminSite, request: HttpRequest) -> dict[str, tuple[str, str]]:
    """Returns the URL and the title of each page that the user may open, by its name."""
    links = {name: page_link(site, request, name) for name, one in PAGES.items() if one.is_in_menu}
    return {name: (url, page_title(name)) for name, url in links.items() if url}


def with_pages(
    site: AdminSite, request: HttpRequest, apps: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Returns what `get_app_list` of the site returns, with the pages in flagstaff's block."""
    own = next((one for one in apps if one["app_label"] == _APP), None)
    models: list[dict[str, Any]] = own["models"] if own else []
    pages = [
        # As Django describes the list of a model.
        {"name": title, "object_name": name, "admin_url": url, "view_only": True}
        for name, (url, title) in menu_links(site, request).items()
    ]
    if not pages or any(one["admin_url"] == pages[0]["admin_url"] for one in models):
        return apps
    # Whoever may open a page may open the overview.
    overview, *others = pages
    block = own or {
        "name": django_apps.get_app_config(_APP).verbose_name,
        "app_label": _APP,
        "app_url": overview["admin_url"],
        "has_module_perms": True,
    }
    block = {**block, "models": [overview, *models, *others]}
    every = [*(one for one in apps if one is not own), block]
    return sorted(every, key=lambda one: str(one["name"]).lower())
