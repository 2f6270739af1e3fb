"""Waffle's admin, for projects that unregister its models, or use its classes and actions.

No page of it is shown: flags are changed in flagstaff's own admin, with its permissions. The
actions are for admin classes of a project, and save the rows, so our flags change with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import ManyToManyRawIdWidget

from waffle.models import Flag, Sample, Switch
from waffle.utils import get_setting

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def _set(rows: Any, column: str, *, value: bool) -> None:
    for row in rows:
        setattr(row, column, value)
        row.save()


@admin.action(description="Enable selected flags for everyone", permissions=("change",))
def enable_for_all(_admin: Any, _request: Any, rows: Any) -> None:
    _set(rows, "everyone", value=True)


@admin.action(description="Disable selected flags for everyone", permissions=("change",))
def disable_for_all(_admin: Any, _request: Any, rows: Any) -> None:
    _set(rows, "everyone", value=False)


@admin.action(description="Enable selected switches", permissions=("change",))
def enable_switches(_admin: Any, _request: Any, rows: Any) -> None:
    _set(rows, "active", value=True)


@admin.action(description="Disable selected switches", permissions=("change",))
def disable_switches(_admin: Any, _request: Any, rows: Any) -> None:
    _set(rows, "active", value=False)


@admin.action(description="Delete selected", permissions=("delete",))
def delete_individually(_admin: Any, _request: Any, rows: Any) -> None:
    for row in rows:
        row.delete()


class InformativeManyToManyRawIdWidget(ManyToManyRawIdWidget):
    """Shows the names of the related rows beside their primary keys."""

    def label_and_url_for_value(self, value: Any) -> tuple[str, str]:
        """Returns the names and no URL."""
        key = self.rel.get_related_field().name
        found = self.rel.model._default_manager.using(self.db).filter(**{f"{key}__in": value})
        return f"({', '.join(map(str, found.order_by(key)))})", ""


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
