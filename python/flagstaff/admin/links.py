"""Links from one page of the admin to another, and the pages that are about no single row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.apps import apps as django_apps
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from flagstaff._tables.rows import Kind, is_stored
from flagstaff._text import say
from flagstaff.admin.parts import PAGES as APP_PAGES
from flagstaff.admin.parts import Level, OverviewLine
from flagstaff.admin.rights import may, may_view, once
from flagstaff.conf import conf

#: The parameters of the page of changes: what is undone; the version to restore; and, with
#: "undo=all", any version of a transaction. And the fields that an undo leaves out.
UNDO, RESTORE, TRANSACTION, ALL = "undo", "restore", "transaction", "all"
WITHOUT = "without"
#: The parameter with the path to which a page returns.
BACK = "back"
_APP = "flagstaff"


def page_url(site: AdminSite, model: type[Model], page: str, *arguments: Any) -> str:
    """Returns the URL of a page, such as "change"."""
    meta = model._meta
    name = f"{site.name}:{meta.app_label}_{meta.model_name}_{page}"
    # A primary key may be any text.
    return reverse(name, args=[quote(argument) for argument in arguments])


#: What begins the id of a declared key in a URL: it need not have a row.
DECLARED_ID = "key:"


def row_id(row: Any) -> Any:
    """Returns what stands for a row in a URL."""
    return row.pk if is_stored(row) else f"{DECLARED_ID}{row.key}"


def page_path(site: AdminSite, name: str, query: Mapping[str, object] | None = None) -> str:
    """Returns the URL of a page; "" if flags have an admin without the pages, or none."""
    try:
        url = page_url(site, conf.flag_model, name)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(query, doseq=True)}" if query else url


def overview_line(
    site: AdminSite, row: Any, text: str, level: Level, label: SafeString | str
) -> OverviewLine:
    """Returns what the overview says of a row with a key, with a link to its page."""
    meta = row._meta
    url = page_url(site, meta.model, "change", row.pk)
    return OverviewLine(row.key, text, level, url, label, str(meta.verbose_name))


def row_links(site: AdminSite, row: Any, heading: str) -> list[tuple[str, str]]:
    """Returns the URLs and the texts of a row's list and of its page, for breadcrumbs."""
    model = row._meta.model
    return [list_link(site, model), (page_url(site, model, "change", row_id(row)), heading)]


def back_url(request: HttpRequest) -> str:
    """Returns the path of this site to which a page returns; empty without one."""
    back = request.GET.get(BACK, "")
    is_own = url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return back if is_own else ""


def list_link(site: AdminSite, model: type[Model]) -> tuple[str, str]:
    """Returns the URL and the text of the list of a model, for breadcrumbs."""
    return page_url(site, model, "changelist"), str(capfirst(model._meta.verbose_name_plural))


def row_path(
    model_admin: ModelAdmin[Any], page: str, view: Callable[..., HttpResponseBase]
) -> URLPattern:
    """Returns the URL pattern of a page of one row, such as "turn_on"."""
    return list_path(model_admin, page, view, "<path:object_id>/")


def list_path(
    model_admin: ModelAdmin[Any], page: str, view: Callable[..., HttpResponseBase], row: str = ""
) -> URLPattern:
    """Returns the URL pattern of a page that is not about a stored row."""
    meta = model_admin.opts
    return path(
        f"{row}{page.replace('_', '-')}/",
        model_admin.admin_site.admin_view(view),
        name=f"{meta.app_label}_{meta.model_name}_{page}",
    )


def changes_url(site: AdminSite, filters: Mapping[str, object]) -> str:
    """Returns the URL of the page of changes with these filters; "" if the site has none."""
    return page_path(site, "changes", filters)


def history_url(site: AdminSite, kind: Kind, key: str) -> str:
    """Returns the URL of the whole history of a key, which also a deleted row has."""
    return changes_url(site, {"key": key, "kind": kind.value})


def undo_url(site: AdminSite, versions: Iterable[int], back: str = "") -> str:
    """Returns the URL of the page that undoes these events; "" without any."""
    undone, way_back = [*versions], {BACK: back} if back else {}
    return changes_url(site, {UNDO: undone, **way_back}) if undone else ""


# The pages that are about no single row.


def _views_flags(site: AdminSite, request: HttpRequest) -> bool:
    return may(site, request, "view", conf.flag_model)


def _views_changes(site: AdminSite, request: HttpRequest) -> bool:
    return any(may(site, request, "view", kind.model) for kind in Kind)


def _views_anything(site: AdminSite, request: HttpRequest) -> bool:
    return _views_changes(site, request) or any(
        may_view(site, request, pages.model) for pages in APP_PAGES
    )


@dataclass(frozen=True)
class _Entry:
    title: str | Promise
    may_open: Callable[[AdminSite, HttpRequest], bool] = _views_flags
    is_in_menu: bool = True


#: By the name in the URL.
PAGES: Mapping[str, _Entry] = {
    "overview": _Entry(say("overview").lazy, _views_anything),
    "changes": _Entry(say("recent changes").lazy, _views_changes),
    "user": _Entry(say("flags of a user").lazy),
    "unknown_keys": _Entry(say("unknown keys").lazy),
    "workers": _Entry(say("workers").lazy),
    "stale": _Entry(say("stale flags").lazy),
    "compare": _Entry(say("compare with a file").lazy, _views_changes),
    "search": _Entry(say("Search").lazy, _views_anything, is_in_menu=False),
}


def page_link(site: AdminSite, request: HttpRequest, name: str) -> str:
    """Returns the URL of a page; "" if the user may not open it."""
    return page_path(site, name) if PAGES[name].may_open(site, request) else ""


def page_title(name: str) -> str:
    """Returns the title of a page."""
    return capfirst(str(PAGES[name].title))


def menu_links(site: AdminSite, request: HttpRequest) -> dict[str, tuple[str, str]]:
    """Returns the URL and the title of each page that the user may open, by its name."""

    def read() -> dict[str, tuple[str, str]]:
        links = {
            name: page_link(site, request, name) for name, page in PAGES.items() if page.is_in_menu
        }
        return {name: (url, page_title(name)) for name, url in links.items() if url}

    # A page has a menu of the site, and one of its own.
    return once(request, f"menu links {site.name}", read)


def with_pages(
    site: AdminSite, request: HttpRequest, apps: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Returns what `get_app_list` of the site returns, with the pages in flagstaff's block."""
    own_block = next((app for app in apps if app["app_label"] == _APP), None)
    models: list[dict[str, Any]] = own_block["models"] if own_block else []
    pages = [
        # As Django describes the list of a model.
        {"name": title, "object_name": name, "admin_url": url, "view_only": True}
        for name, (url, title) in menu_links(site, request).items()
    ]
    if not pages or any(model["admin_url"] == pages[0]["admin_url"] for model in models):
        return apps
    # A user who may open any page may open the overview.
    overview, *others = pages
    block = own_block or {
        "name": django_apps.get_app_config(_APP).verbose_name,
        "app_label": _APP,
        "app_url": overview["admin_url"],
        "has_module_perms": True,
    }
    block = {**block, "models": [overview, *models, *others]}
    blocks = [*(app for app in apps if app is not own_block), block]
    return sorted(blocks, key=lambda app: str(app["name"]).lower())
