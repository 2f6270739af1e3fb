"""Waffle's admin, for projects that unregister its models or subclass its classes.

No page of it is shown: flags are changed in flagstaff's own admin, with its permissions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from waffle.models import Flag, Sample, Switch
from waffle.utils import get_setting

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def _never(*_: Any, **__: Any) -> bool:
    return False


class BaseAdmin(_ModelAdmin):
    search_fields = ("name", "note")
    actions = []
    # Permissions for waffle's rows must not change flags.
    has_view_permission = has_add_permission = _never
    has_change_permission = has_delete_permission = _never


class FlagAdmin(BaseAdmin):
    list_display = ("name", "note", "everyone", "percent", "superusers", "staff", "authenticated")
    list_filter = ("superusers", "staff", "authenticated")
    raw_id_fields = ("users",)
    ordering = ("-id",)


class SwitchAdmin(BaseAdmin):
    list_display = ("name", "active", "note", "created", "modified")
    list_filter = ("active",)
    ordering = ("-id",)


class SampleAdmin(BaseAdmin):
    list_display = ("name", "percent", "note", "created", "modified")
    ordering = ("-id",)


if get_setting("ENABLE_ADMIN_PAGES"):
    admin.site.register(Flag, FlagAdmin)
    admin.site.register(Switch, SwitchAdmin)
    admin.site.register(Sample, SampleAdmin)
