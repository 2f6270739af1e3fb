"""The admin classes of waffle, for those of a project. None is registered.

Flags are changed in flagstaff's own admin: rights for waffle's rows give no right there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.db.models import QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class BaseAdmin(_ModelAdmin):
    search_fields = ("name", "note")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Returns the actions without Django's own deletion: each row is deleted by itself."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions


def _save_all(rows: QuerySet[Any], column: str, *, value: bool) -> None:
    for row in rows:
        setattr(row, column, value)
        row.save()


@admin.action(description="Enable selected flags for everyone", permissions=("change",))
def enable_for_all(_ma: Any, _request: HttpRequest, qs: QuerySet[Any]) -> None:
    """Turns flags on for everyone."""
    _save_all(qs, "everyone", value=True)


@admin.action(description="Disable selected flags for everyone", permissions=("change",))
def disable_for_all(_ma: Any, _request: HttpRequest, qs: QuerySet[Any]) -> None:
    """Turns flags off for everyone."""
    _save_all(qs, "everyone", value=False)


@admin.action(description="Enable selected switches", permissions=("change",))
def enable_switches(_ma: Any, _request: HttpRequest, qs: QuerySet[Any]) -> None:
    """Turns switches on."""
    _save_all(qs, "active", value=True)


@admin.action(description="Disable selected switches", permissions=("change",))
def disable_switches(_ma: Any, _request: HttpRequest, qs: QuerySet[Any]) -> None:
    """Turns switches off."""
    _save_all(qs, "active", value=False)


@admin.action(description="Delete selected", permissions=("delete",))
def delete_individually(_ma: Any, _request: HttpRequest, qs: QuerySet[Any]) -> None:
    """Deletes rows."""
    for row in qs:
        row.delete()


class InformativeManyToManyRawIdWidget(ManyToManyRawIdWidget):
    """A field for users, by their primary keys."""


class FlagAdmin(BaseAdmin):
    actions = [enable_for_all, disable_for_all, delete_individually]
    list_display = ("name", "note", "everyone", "percent", "superusers", "staff", "authenticated")
    list_filter = ("superusers", "staff", "authenticated")
    raw_id_fields = ("users",)
    ordering = ("-id",)


class SwitchAdmin(BaseAdmin):
    actions = [enable_switches, disable_switches, delete_individually]
    list_display = ("name", "active", "note", "created", "modified")
    ordering = ("-id",)


class SampleAdmin(BaseAdmin):
    actions = [delete_individually]
    list_display = ("name", "percent", "note", "created", "modified")
    ordering = ("-id",)
