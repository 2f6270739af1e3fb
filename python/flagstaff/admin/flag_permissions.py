"""Permissions of optional apps: users who may see or change a flag may do so with its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest

from flagstaff.admin.links import admin_of
from flagstaff.conf import conf

__all__ = ["FlagPermissionsMixin", "may"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


def may(
    site: AdminSite, request: HttpRequest, action: Literal["view", "change"], flag: Any = None
) -> bool:
    """Whether the user of the request may do this with a flag, or with flags at all."""
    model = conf.flag_model
    flag_admin = admin_of(site, model)
    if flag_admin is None:
        actions = {action, "change"}
        names = [get_permission_codename(one, model._meta) for one in actions]
        return any(request.user.has_perm(f"{model._meta.app_label}.{name}") for name in names)
    if action == "view":
        return flag_admin.has_view_permission(request, flag)
    return flag_admin.has_change_permission(request, flag)


class FlagPermissionsMixin(_ModelAdmin):
    """The permissions for flags decide. Put it before ModelAdmin."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index of the admin lists the model."""
        return may(self.admin_site, request, "view")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see rows."""
        return may(self.admin_site, request, "view")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether the user may create rows."""
        return may(self.admin_site, request, "change")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change rows."""
        return may(self.admin_site, request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete rows."""
        return may(self.admin_site, request, "change")
