"""The permissions to see, toggle and change flags, and what optional apps add to them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.sites import all_sites
from django.contrib.auth import get_permission_codename
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.links import admin_of
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.page import page_of
from flagstaff.conf import conf

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
        if flag_admin.has_view_permission(request, flag):
            return True
        # Django's own admin knows nothing of this permission; any other one has decided.
        is_djangos = type(flag_admin).has_view_permission is admin.ModelAdmin.has_view_permission
        return is_djangos and has_toggle_permission(flag_admin, request)
    if action == "toggle":
        return may_toggle(flag_admin, request, flag)
    return flag_admin.has_change_permission(request, flag) and not is_toggle_page(request)


def may_toggle(model_admin: admin.ModelAdmin[Any], request: HttpRequest, flag: Any = None) -> bool:
    """Whether the user may turn flags on and off, roll them out and kill them."""
    if model_admin.has_change_permission(request, flag):
        return True
    return not conf.read_only and has_toggle_permission(model_admin, request)


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
    admins = [
        model_admin for site in all_sites if (model_admin := admin_of(site, model)) is not None
    ]
    if conf.read_only or not admins:
        return _has_permission(user, "toggle", model)
    return any(may_toggle(model_admin, request, flag) for model_admin in admins)


def _has_permission(user: Any, action: Action, model: type[Model]) -> bool:
    names = [get_permission_codename(included, model._meta) for included in _INCLUDED_IN[action]]
    return any(user.has_perm(f"{model._meta.app_label}.{name}") for name in names)


def why_not_toggle(model_admin: admin.ModelAdmin[Any]) -> str:
    """Returns the sentence beside controls that are disabled."""
    if conf.read_only:
        return _("These pages are read-only: the setting READ_ONLY is True.")
    text = _("To turn flags on or off, you need the permission “%(permission)s”.")
    return text % {"permission": _toggle_permission(model_admin)}


def is_toggle_page(request: HttpRequest) -> bool:
    """Whether this is the page of a flag for a user who may only toggle it."""
    return page_of(request).is_toggle


def mark_toggle_page(model_admin: admin.ModelAdmin[Any], request: HttpRequest) -> None:
    """Lets a user who may only toggle flags use this part of the form of one."""
    if not model_admin.has_change_permission(request) and may_toggle(model_admin, request):
        page_of(request).is_toggle = True


def has_toggle_permission(model_admin: admin.ModelAdmin[Any], request: HttpRequest) -> bool:
    """Whether the user has the permission to toggle flags."""
    return request.user.has_perm(_toggle_permission(model_admin))


def _toggle_permission(model_admin: admin.ModelAdmin[Any]) -> str:
    opts = model_admin.opts
    return f"{opts.app_label}.{get_permission_codename('toggle', opts)}"


class ReadOnlyMixin(ModelAdminMixin):
    """Removes all permissions to write while READ_ONLY is True. Put it before ModelAdmin."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether the user may create rows."""
        return not conf.read_only and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change rows."""
        return not conf.read_only and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete rows."""
        return not conf.read_only and super().has_delete_permission(request, obj)


class FlagPermissionsMixin(ModelAdminMixin):
    """The permissions for flags decide. Put it before ModelAdmin."""

    #: The permission for flags that a user needs to write rows of this model.
    flag_action: ClassVar[Action] = "change"

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index of the admin lists the model."""
        return may(self.admin_site, request, "view")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see rows."""
        return may(self.admin_site, request, "view")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether the user may create rows."""
        return may(self.admin_site, request, self.flag_action)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change rows."""
        return may(self.admin_site, request, self.flag_action)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete rows."""
        return may(self.admin_site, request, self.flag_action)
