"""Links from one page of the admin to another, for users who may open it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.text import capfirst

from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

#: The parameters of the page of changes: what is undone; the version to restore; and, with
#: "undo=all", any version of a transaction.
UNDO, RESTORE, TRANSACTION, ALL = "undo", "restore", "transaction", "all"
#: The parameter with the path to which a page returns.
BACK = "back"


def admin_of(site: AdminSite, model: type[Model]) -> ModelAdmin[Any] | None:
    """Returns the admin of a model, or None if this site has none."""
    try:
        return site.get_model_admin(model)
    except NotRegistered:
        return None


def may_view(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Whether the user of the request may open the pages of a model's rows."""
    admin = admin_of(site, model)
    return admin is not None and admin.has_view_permission(request)


def page_url(site: AdminSite, model: type[Model], page: str, *arguments: Any) -> str:
    """Returns the URL of a page, such as "change"."""
    meta = model._meta
    name = f"{site.name}:{meta.app_label}_{meta.model_name}_{page}"
    # A primary key may be any text.
    return reverse(name, args=[quote(one) for one in arguments])


def page_path(site: AdminSite, name: str, query: Mapping[str, object] | None = None) -> str:
    """Returns the URL of a page; "" if flags have an admin without the pages, or none."""
    try:
        url = page_url(site, conf.flag_model, name)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(query, doseq=True)}" if query else url


def row_links(site: AdminSite, row: Any) -> list[tuple[str, str]]:
    """Returns the URLs and the texts of a row's list and of its page, for breadcrumbs."""
    return [
        list_link(site, row._meta.model),
        (page_url(site, row._meta.model, "change", row.pk), row.key),
    ]


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
