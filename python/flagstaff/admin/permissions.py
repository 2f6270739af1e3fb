"""The permissions to see, toggle and change flags, and to see and change their allowed users."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Literal, TypeAlias

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.sites import all_sites
from django.contrib.auth import get_permission_codename
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.rows import all_rows
from flagstaff.admin.links import admin_of
from flagstaff.admin.page import page_of
from flagstaff.conf import conf
from flagstaff.history.user_names import may_see_users, permission_to_see_users

Action: TypeAlias = Literal["view", "toggle", "change"]

#: The fields that users who may only toggle can edit.
TOGGLE_FIELDS = frozenset({"enabled", "rollout_percent"})

# Permissions that include others.
_INCLUDED_IN: dict[Action, tuple[str, ...]] = {
    "view": ("view", "toggle", "change"),
    "toggle": ("toggle", "change"),
    "change": ("change",),
}


def may(site: AdminSite, request: HttpRequest, action: Action, flag: Any = None) -> bool:
    """Whether the user of the request may do this with a flag, or with flags at all."""
    if conf.read_only and action != "view":
        return False
    model = conf.flag_model
    flag_admin = admin_of(site, model)
    if flag_admin is None:
        return _has_permission(request.user, action, model)
    if action == "view":
        return _may_view(flag_admin, request, flag)
    if action == "toggle":
        return may_toggle(flag_admin, request, flag)
    return flag_admin.has_change_permission(request, flag) and not is_toggle_page(request)


def shown_flags(site: AdminSite, request: HttpRequest) -> QuerySet[Any]:
    """Returns the flags that the pages of flags show to the user of the request."""
    flag_admin = admin_of(site, conf.flag_model)
    return all_rows(conf.flag_model) if flag_admin is None else flag_admin.get_queryset(request)


def may_toggle(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any = None) -> bool:
    """Whether the user may turn flags on and off, roll them out and kill them.

    The admin decides, because a project can restrict the rights to single flags.
    """
    # The method of a project need not know the setting.
    if conf.read_only:
        return False
    own: Callable[..., bool] | None = getattr(model_admin, "has_toggle_permission", None)
    if own is None:
        return has_toggle_permission(model_admin, request, flag)
    try:
        signature(own).bind(request, flag)
    except TypeError:
        # Without a flag, as Django calls the methods for its actions.
        return own(request) and not _is_refused(model_admin, request, flag)
    return own(request, flag)


def has_toggle_permission(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any = None
) -> bool:
    """Whether the user may change the flag, or has the permission to toggle flags.

    An admin that refuses to show this flag, or to change it although others may be changed, also
    refuses to toggle it.
    """
    if model_admin.has_change_permission(request, flag):
        return True
    if conf.read_only or not holds_toggle(model_admin, request):
        return False
    return not _is_refused(model_admin, request, flag)


def _is_refused(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> bool:
    """Whether the admin refuses this flag, although the user may change or toggle others."""
    if flag is None or model_admin.has_change_permission(request, flag):
        return False
    return model_admin.has_change_permission(request) or not _may_view(model_admin, request, flag)


def _may_view(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> bool:
    if model_admin.has_view_permission(request, flag):
        return True
    # Django's own admin knows nothing of this permission; any other one has decided.
    is_djangos = type(model_admin).has_view_permission is admin.ModelAdmin.has_view_permission
    return is_djangos and holds_toggle(model_admin, request)


def user_may_toggle(user: Any, flag: Any) -> bool:
    """Whether a user may toggle a flag in one of the admin sites, without a request of the user.

    READ_ONLY stops pages only, so with it the permissions of the user decide.
    """
    # Not the method of the site, which may need what a middleware adds.
    if not (user.is_active and getattr(user, "is_staff", True)):
        return False
    request = HttpRequest()
    request.user = user
    model = conf.flag_model
    admins = [found for site in all_sites if (found := admin_of(site, model)) is not None]
    if conf.read_only or not admins:
        return _has_permission(user, "toggle", model)
    return any(may_toggle(model_admin, request, flag) for model_admin in admins)


def _has_permission(user: Any, action: Action, model: type[Model]) -> bool:
    return any(user.has_perm(_permission(name, model)) for name in _INCLUDED_IN[action])


def _permission(action: str, model: type[Model]) -> str:
    return f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}"


def why_not_toggle(model_admin: admin.ModelAdmin[Any]) -> str:
    """Returns the sentence beside controls that are disabled."""
    if conf.read_only:
        return _("These pages are read-only: the setting READ_ONLY is True.")
    text = _("To turn flags on or off, you need the permission “%(permission)s”.")
    return text % {"permission": _permission("toggle", model_admin.model)}


def is_toggle_page(request: HttpRequest) -> bool:
    """Whether this is the page of a flag for a user who may only toggle it."""
    return page_of(request).is_toggle


def mark_toggle_page(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any) -> None:
    """Lets a user who may only toggle flags use this part of the form of this one."""
    may_change = model_admin.has_change_permission(request, flag)
    if not may_change and may_toggle(model_admin, request, flag):
        page_of(request).is_toggle = True


def holds_toggle(model_admin: admin.ModelAdmin[Any], request: HttpRequest) -> bool:
    """Whether the user has the permission to toggle flags."""
    return request.user.has_perm(_permission("toggle", model_admin.model))


def why_not_change_users(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any
) -> str:
    """Returns why the user of the request may not add and remove allowed users, or ""."""
    if not may_see_users(request.user):
        return needs_view_user_text()
    if conf.read_only:
        return _("These pages are read-only: the setting READ_ONLY is True.")
    # On the page of a flag, Django sees a user who may only toggle it as one who may change it.
    if not model_admin.has_change_permission(request, flag) or is_toggle_page(request):
        return _("To add or remove users, you need the permission to change this flag.")
    return ""


def needs_view_user_text() -> str:
    """Returns the sentence that names the permission to see users."""
    text = _("To see users, you need the permission “%(name)s”.")
    return text % {"name": permission_to_see_users()}
