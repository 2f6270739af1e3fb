"""What optional apps show of flags: a panel on a page, notes and links in the list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._extensions import OptionalApp, optional_apps
from flagstaff.admin.environment import extend_template
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.page_row import PageRowMixin, request_of
from flagstaff.models import ConnectedWorker, RecentChange, UnknownKey

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

    _ChangeList = ChangeList
else:
    _ChangeList = object

_Value = TypeVar("_Value")

_NO_NOTES: Mapping[str, str] = {}
_NO_LINKS: Sequence[tuple[str, str]] = ()
#: The template of the list of flags.
FLAG_LIST = "flagstaff/flag_list.html"
# Instead of a panel that cannot be shown.
_NONE = "\N{EN DASH}"
# The name of the display method, and the attribute of a row in the list.
_PANELS, _NOTES = "panels", "flagstaff_notes"


class _NotesMixin(_ChangeList):
    """A list that calls each app once for the whole page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        apps = _apps_with("flag_notes")
        # Those first that say which flags they are about to change: others can use that.
        first = sorted(apps, key=lambda app: app not in _apps_with("planned_flags"))
        notes_by_app = {
            app.label: _show(app, partial(app.flag_notes, self.result_list), _NO_NOTES)
            for app in first
        }
        for flag in self.result_list:
            notes = (notes_by_app[app.label].get(str(flag.pk), "") for app in apps)
            vars(flag)[_NOTES] = format_html_join(" ", "{}", ((note,) for note in notes if note))


class AppPanelsMixin(PageRowMixin):
    """Put it before SavingMixin."""

    @property
    def media(self) -> Media:
        """The stylesheets and scripts, with those of the apps."""
        styles = [path for app in optional_apps() for path in app.admin_css]
        return super().media + Media(css={"all": styles})

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The list, with links to flagstaff's own pages and to those of the apps."""
        links_of_apps = (
            _show(app, partial(app.flag_links, self.admin_site, request), _NO_LINKS)
            for app in _apps_with("flag_links")
        )
        links = [
            *core_links(self.admin_site, request),
            *(link for app_links in links_of_apps for link in app_links),
        ]
        response = super().changelist_view(request, extra_context)
        if links and isinstance(response, TemplateResponse):
            self._add_links(response, links)
        return response

    def _add_links(self, response: TemplateResponse, links: Sequence[tuple[str, str]]) -> None:
        context = response.context_data
        # A subclass may have a template of its own, and an action may have a page.
        if self.change_list_template is None and context is not None and "cl" in context:
            context["flagstaff_links"] = links
            if response.template_name != FLAG_LIST:
                extend_template(response, FLAG_LIST)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list. Its base class may be a theme's."""
        base = super().get_changelist(request, **kwargs)
        return type("FlagList", (_NotesMixin, base), {})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The read-only fields, with the panels."""
        return (*super().get_readonly_fields(request, obj), _PANELS)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> _FieldsetSpec:
        """The fields, with the panels after the first ones."""
        fieldsets = super().get_fieldsets(request, obj)
        apps = _apps_with("flag_panel")
        if obj is None or not apps:
            return fieldsets
        first, *other_fieldsets = fieldsets
        return (first, (_("More about this flag"), {"fields": (_PANELS,)}), *other_fieldsets)

    @admin.display(description=gettext_lazy("state"))
    def panels(self, flag: Any) -> SafeString:
        """What the apps show of the flag."""
        request = request_of(flag)
        if request is None:
            return SafeString()
        panels = (
            (
                getattr(app, "verbose_name", app.label),
                _show(app, partial(app.flag_panel, self.admin_site, request, flag), _NONE),
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
    notes: str = vars(flag).get(_NOTES, "")
    return notes


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
