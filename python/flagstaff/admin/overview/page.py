"""The overview: what needs attention, what runs, and the changes of today by actor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._extensions import Level, OverviewLine, optional_apps
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import may_view
from flagstaff.admin.overview.changes import changes_of_today
from flagstaff.admin.overview.lines import overview_lines
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.models import RecentChange

#: The classes of the labels, in admin.css and charts.css.
_BADGES = {
    Level.PROBLEM: "flagstaff-tripped",
    Level.NOTICE: "flagstaff-partial",
    Level.RUNNING: "flagstaff-off",
}
# The lines of a table. The most urgent ones are the first.
_MAX_LINES = 50


class OverviewAdmin(PlainPageAdmin):
    """Users who may view something of flagstaff see what concerns it."""

    page_template = "flagstaff/overview.html"

    class Media:
        css = {"all": ("flagstaff/charts.css", "flagstaff/overview.css")}

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index of the admin lists the page."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may view flags, values, segments, or rows of an optional app."""
        models: list[type[Model]] = [RecentChange]
        for app in optional_apps():
            models += apps.get_app_config(app.label).get_models()
        return any(may_view(self.admin_site, request, model) for model in models)

    def page_context(self, request: HttpRequest) -> Mapping[str, object]:
        """The blocks. Makes a dozen queries, whatever the numbers."""
        lines = overview_lines(self.admin_site, request)
        return {
            "attention": _table(lines, _("Needs attention"), Level.PROBLEM, Level.NOTICE),
            "running": _table(lines, _("Running"), Level.RUNNING),
            "notes": [line.text for line in lines if line.level is Level.UNKNOWN],
            "changes": value_or_default(
                "the overview cannot count the changes of today",
                partial(changes_of_today, self.admin_site, request),
                None,
            ),
        }


def _table(lines: list[OverviewLine], heading: str, *levels: Level) -> Mapping[str, object]:
    found = [line for line in lines if line.level in levels]
    return {
        "heading": heading,
        "rows": [{"line": line, "badge": _BADGES[line.level]} for line in found[:_MAX_LINES]],
        "others": max(len(found) - _MAX_LINES, 0),
    }
