"""What optional apps show of flags: a panel on a page, notes and links in the list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.page import page_of, page_of_row, request_of
from flagstaff.admin.part import Part
from flagstaff.models import ConnectedWorker, FlagsOfUser, Overview, RecentChange, UnknownKey

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

    from flagstaff.admin.row_admin import RowAdmin

_Value = TypeVar("_Value")

_NO_NOTES: Mapping[str, str] = {}
_NO_LINKS: Sequence[tuple[str, str]] = ()
# Instead of a panel that cannot be shown.
_NONE = "\N{EN DASH}"
# The name of the display method.
_PANELS = "panels"


class AppPart(Part):
    """The base of the part that an optional app adds to the admin of flags.

    What fails is left out: the pages must work without the tables of the app.
    """

    #: The label of the app.
    app_label: ClassVar[str]
    #: Whether `notes` calls `keep_planned`, which the notes of other apps read.
    keeps_planned: ClassVar[bool] = False

    def panel(self, request: HttpRequest, flag: Any) -> str:
        """Returns what the page of a flag shows of the app, as HTML."""
        return ""

    def notes(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """Returns a short text or HTML for some flags of a list, by the text of the primary key.

        Makes a number of queries that does not depend on the number of flags.
        """
        return {}

    def links(self, request: HttpRequest) -> Sequence[tuple[str, str]]:
        """Returns links above the list of flags, each with its URL and its text."""
        return ()

    def has(self, method: str) -> bool:
        """Whether the app shows something in this place. Each needs a savepoint."""
        return getattr(type(self), method) is not getattr(AppPart, method)

    def show(self, show: Callable[[], _Value], instead: _Value) -> _Value:
        """Returns what a method of the app returns, or something else if it fails."""
        problem = f"the app {self.app_label} cannot show its part of the flags"
        return value_or_default(problem, show, instead)


@dataclass(frozen=True)
class _Notes:
    """What the apps say about the flags of a list, by the text of the primary key."""

    texts: Mapping[str, SafeString]


class AppPanels(Part):
    """Shows the parts of the optional apps: panels on the page, notes and links in the list."""

    displays = (_PANELS,)

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Calls each app once for the whole page."""
        flags = list(changelist.result_list)
        parts = app_parts(self.admin, "notes")
        first = sorted(parts, key=lambda part: not part.keeps_planned)
        found = {part: part.show(partial(part.notes, flags), _NO_NOTES) for part in first}
        notes = {
            pk: [note for part in parts if (note := found[part].get(pk, ""))]
            for pk in (str(flag.pk) for flag in flags)
        }
        texts = {
            pk: format_html_join(" ", "{}", ((one,) for one in some)) for pk, some in notes.items()
        }
        page_of(request).keep(_Notes(texts))

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> Mapping[str, object]:
        """Links to flagstaff's own pages and to those of the apps."""
        links = [*core_links(self.admin.admin_site, request)]
        for part in app_parts(self.admin, "links"):
            links += part.show(partial(part.links, request), _NO_LINKS)
        return {"flagstaff_links": links}

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """The panels."""
        return (_PANELS,)

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The panels after the first section."""
        if row is None or not app_parts(self.admin, "panel"):
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
                apps.get_app_config(part.app_label).verbose_name,
                part.show(partial(part.panel, request, flag), _NONE),
            )
            for part in app_parts(self.admin, "panel")
        )
        html = '<div class="flagstaff-panel-part"><strong>{}</strong>{}</div>'
        return format_html_join("", html, panels)


def app_parts(admin: RowAdmin, method: str) -> list[AppPart]:
    """Returns the parts of the apps that have a method of their own."""
    return [part for part in admin.bound_parts if isinstance(part, AppPart) and part.has(method)]


def notes_about(admin: RowAdmin, flag: Any) -> list[str]:
    """Returns the notes about one flag, for its page. Each app makes a query or a few."""
    found = (
        part.show(partial(part.notes, [flag]), _NO_NOTES) for part in app_parts(admin, "notes")
    )
    return [note for notes in found if (note := notes.get(str(flag.pk), ""))]


def app_notes(flag: Any) -> str:
    """Returns the notes about a flag in the list."""
    page = page_of_row(flag)
    notes = page and page.kept(_Notes)
    return notes.texts.get(str(flag.pk), "") if notes else ""


_PAGES = (Overview, RecentChange, FlagsOfUser, UnknownKey, ConnectedWorker)


def core_links(site: AdminSite, request: HttpRequest) -> Sequence[tuple[str, str]]:
    """Returns the URL and the text of each page that the user may open. Does not query."""
    return [
        (page_url(site, model, "changelist"), str(capfirst(model._meta.verbose_name_plural)))
        for model in _PAGES
        if may_view(site, request, model)
    ]
