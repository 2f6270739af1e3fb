"""Waffle's admin: pages of the rows about which the project's own code decides.

No others are shown: flags are changed in flagstaff's own admin, with its permissions. The actions
save the rows, so our flags change with them; but not those of rows with own code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.http import HttpRequest

from flagstaff._text import say
from flagstaff.contrib.waffle.rows import has_own_code, is_off, seen_name
from flagstaff.contrib.waffle.settings import key_of
from waffle.models import Flag, Sample, Switch
from waffle.utils import get_setting

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def _setter(name: str, text: str, column: str, *, value: bool) -> Callable[[Any, Any, Any], None]:
    @admin.action(description=text, permissions=("change",))
    def act(_admin: Any, _request: Any, rows: Any) -> None:
        for row in rows:
            setattr(row, column, value)
            row.save()

    # A form posts the name.
    act.__name__ = name
    return act


enable_for_all = _setter(
    "enable_for_all", "Enable selected flags for everyone", "everyone", value=True
)
disable_for_all = _setter(
    "disable_for_all", "Disable selected flags for everyone", "everyone", value=False
)
enable_switches = _setter("enable_switches", "Enable selected switches", "active", value=True)
disable_switches = _setter("disable_switches", "Disable selected switches", "active", value=False)


@admin.action(description="Delete selected", permissions=("delete",))
def delete_individually(_admin: Any, _request: Any, rows: Any) -> None:
    for row in rows:
        row.delete()


class InformativeManyToManyRawIdWidget(ManyToManyRawIdWidget):
    """Shows primary keys, without the names of the related rows."""


def _permission(name: str) -> Any:
    # Permissions for waffle's rows must not change flags.
    def has_permission(pages: BaseAdmin, *arguments: Any, **named: Any) -> bool:
        return has_own_code(pages.model) and getattr(super(BaseAdmin, pages), name)(
            *arguments, **named
        )

    return has_permission


class BaseAdmin(_ModelAdmin):
    search_fields = ("name", "note")
    ordering = ("-id",)
    actions: Any = [delete_individually]

    has_view_permission = _permission("has_view_permission")
    has_add_permission = _permission("has_add_permission")
    has_change_permission = _permission("has_change_permission")
    has_delete_permission = _permission("has_delete_permission")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Renders the form, and says if the flag is off, so that no column has an effect."""
        row = context.get("original")
        if row is not None and is_off(row.KIND, seen_name(row)):
            messages.warning(
                request,
                say(
                    "The flag “{key}” is off, so this is off for everybody.",
                    key=key_of(row.KIND, seen_name(row)),
                ).local,
            )
        return super().render_change_form(request, context, *args, **kwargs)


class FlagAdmin(BaseAdmin):
    actions = [enable_for_all, disable_for_all, delete_individually]
    list_display = (
        "name",
        "note",
        "everyone",
        "percent",
        "superusers",
        "staff",
        "authenticated",
        "languages",
    )
    list_filter = ("everyone", "superusers", "staff", "authenticated")
    raw_id_fields = ("users",)


class SwitchAdmin(BaseAdmin):
    actions = [enable_switches, disable_switches, delete_individually]
    list_display = ("name", "active", "note", "created", "modified")
    list_filter = ("active",)


class SampleAdmin(BaseAdmin):
    list_display = ("name", "percent", "note", "created", "modified")


if get_setting("ENABLE_ADMIN_PAGES"):
    for _model, _admin in ((Flag, FlagAdmin), (Switch, SwitchAdmin), (Sample, SampleAdmin)):
        admin.site.register(_model, _admin)
