"""What optional apps show of flags: a panel on a page, notes and links in the list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.forms import Media
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._extensions import OptionalApp, optional_apps
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.page import page_of, page_of_row, request_of
from flagstaff.admin.part import Part
from flagstaff.models import ConnectedWorker, RecentChange, UnknownKey

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

_Value = TypeVar("_Value")

_NO_NOTES: Mapping[str, str] = {}
_NO_LINKS: Sequence[tuple[str, str]] = ()
# Instead of a panel that cannot be shown.
_NONE = "\N{EN DASH}"
# The name of the display method.
_PANELS = "panels"


@dataclass(frozen=True)
class _Notes:
    """What the apps say about the flags of a list, by the text of the primary key."""

    texts: Mapping[str, SafeString]


class AppPanels(Part):
    """What the optional apps show."""

    displays = (_PANELS,)

    def media(self) -> Media:
        """The stylesheets of the apps."""
        return Media(css={"all": [path for app in optional_apps() for path in app.admin_css]})

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Calls each app once for the whole page."""
        flags = list(changelist.result_list)
        apps = _apps_with("flag_notes")
        # Those first that say which flags they are about to change: others can use that.
        first = sorted(apps, key=lambda app: app not in _apps_with("planned_flags"))
        by_app = {app.label: _show(app, partial(app.flag_notes, flags), _NO_NOTES) for app in first}
        notes = {
            pk: [note for app in apps if (note := by_app[app.label].get(pk, ""))]
            for pk in (str(flag.pk) for flag in flags)
        }
        texts = {
            pk: format_html_join(" ", "{}", ((one,) for one in some)) for pk, some in notes.items()
        }
        page_of(request).keep(_Notes(texts))

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> Mapping[str, object]:
        """Links to flagstaff's own pages and to those of the apps."""
        site = self.admin.admin_site
        found = (
            _show(app, partial(app.flag_links, site, request), _NO_LINKS)
            for app in _apps_with("flag_links")
        )
        return {
            "flagstaff_links": [
                *core_links(site, request),
                *(one for some in found for one in some),
            ]
        }

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """The panels."""
        return (_PANELS,)

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The panels after the first section."""
        if row is None or not _apps_with("flag_panel"):
            return fieldsets
        panels = (_("More about this flag"), {"fields": (_PANELS,)})
        return (*fieldsets[:1], panels, *fieldsets[1:])

    @admin.display(description=gettext_lazy("state"))
    def panels(self, flag: Any) -> SafeString:
        """What the apps show of the flag."""
        request = request_of(flag)
        if request is None:
            return SafeString()
        panels = (
            (
                getattr(app, "verbose_name", app.label),
                _show(app, partial(app.flag_panel, self.admin.admin_site, request, flag), _NONE),
            )
            for app in _apps_with("flag_panel")
        )
        part = '<div class="flagstaff-panel-part"><strong>{}</strong>{}</div>'
        return format_html_join("", part, panels)


def notes_about(flag: Any) -> list[str]:
    """Returns the notes about one flag, for its page. Each app makes a query or a few."""
    notes_of_apps = (
        _show(app, partial(app.flag_notes, [flag]), _NO_NOTES) for app in _apps_with("flag_notes")
    )
    return [note for notes in notes_of_apps if (note := notes.get(str(flag.pk), ""))]


def app_notes(flag: Any) -> str:
    """Returns the notes about a flag in the list."""
    page = page_of_row(flag)
    notes = page and page.kept(_Notes)
    return notes.texts.get(str(flag.pk), "") if notes else ""


def _show(app: OptionalApp, show: Callable[[], _Value], instead: _Value) -> _Value:
    """Returns what an app shows. The page must work without the tables of the app."""
    return value_or_default(f"the app {app.label} cannot show its part of the flags", show, instead)


def _apps_with(method: str) -> list[OptionalApp]:
    """Returns the apps that show something in this place. Each needs a savepoint."""
    base = getattr(OptionalApp, method)
    return [app for app in optional_apps() if getattr(type(app), method) is not base]


_PAGES = (RecentChange, UnknownKey, ConnectedWorker)


def core_links(site: AdminSite, request: HttpRequest) -> Sequence[tuple[str, str]]:
    """Returns the URL and the text of each page that the user may open. Does not query."""
    return [
        (page_url(site, model, "changelist"), str(capfirst(model._meta.verbose_name_plural)))
        for model in _PAGES
        if may_view(site, request, model)
    ]
