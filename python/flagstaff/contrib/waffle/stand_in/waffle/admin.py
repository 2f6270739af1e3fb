"""Waffle's admin, for projects that unregister its models, or use its classes and actions.

No page of it is shown: flags are changed in flagstaff's own admin, with its permissions. The
actions are for admin classes of a project, and save the rows, so our flags change with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import ManyToManyRawIdWidget

from waffle.models import Flag, Sample, Switch
from waffle.utils import get_setting

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def _setter(text: str, column: str, *, value: bool) -> Callable[[Any, Any, Any], None]:
    @admin.action(description=text, permissions=("change",))
    def act(_admin: Any, _request: Any, rows: Any) -> None:
        for row in rows:
            setattr(row, column, value)
            row.save()

    return act


enable_for_all = _setter("Enable selected flags for everyone", "everyone", value=True)
disable_for_all = _setter("Disable selected flags for everyone", "everyone", value=False)
enable_switches = _setter("Enable selected switches", "active", value=True)
disable_switches = _setter("Disable selected switches", "active", value=False)


@admin.action(description="Delete selected", permissions=("delete",))
def delete_individually(_admin: Any, _request: Any, rows: Any) -> None:
    for row in rows:
        row.delete()


class InformativeManyToManyRawIdWidget(ManyToManyRawIdWidget):
    """Shows primary keys, without the names of the related rows."""


def _never(*_: Any, **__: Any) -> bool:
    return False


class BaseAdmin(_ModelAdmin):
    # Permissions for waffle's rows must not change flags.
    has_view_permission = has_add_permission = _never
    has_change_permission = has_delete_permission = _never


FlagAdmin = SwitchAdmin = SampleAdmin = BaseAdmin

if get_setting("ENABLE_ADMIN_PAGES"):
    admin.site.register([Flag, Switch, Sample], BaseAdmin)
