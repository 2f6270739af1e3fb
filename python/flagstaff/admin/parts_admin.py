"""An admin that asks its parts: its options, permissions, rows and list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from flagstaff.admin.page import page_of
from flagstaff.admin.part import AdminOfParts, Part

if TYPE_CHECKING:
    _ChangeList = ChangeList
else:
    _ChangeList = object

_CHECKBOX: Any = ModelAdmin.action_checkbox
# Translated by Django.
_SELECT = "Select this object for an action - {}"
_Context = dict[str, Any]
_Value = TypeVar("_Value")


class PartsAdmin(AdminOfParts):
    """Owns the hooks of Django's ModelAdmin for options, permissions, rows and the list."""

    #: The classes of the parts, in the order in which they are asked. A subclass can add its own.
    parts: ClassVar[tuple[type[Part], ...]]

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        self.bound_parts = tuple(part(self) for part in self.part_classes())
        for part in self.bound_parts:
            for name in part.displays:
                if not hasattr(type(self), name):
                    setattr(self, name, getattr(part, name))

    def part_classes(self) -> Iterable[type[Part]]:
        """Returns the classes of all parts of this admin."""
        return self.parts

    def get_urls(self) -> list[URLPattern]:
        """The URLs of Django's pages, and those of the parts."""
        return [*(url for part in self.bound_parts for url in part.urls()), *super().get_urls()]

    @property
    def media(self) -> forms.Media:
        """The stylesheets and scripts, with those of the parts."""
        return sum((part.media() for part in self.bound_parts), super().media)

    # Rows.

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows that the pages read."""
        rows = super().get_queryset(request)
        return self.ask(rows, lambda part, some: part.queryset(request, some))

    # The list.

    def show_list(self, request: HttpRequest, extra_context: _Context | None) -> HttpResponse:
        """Returns the list, or the page of an action."""
        page_of(request).is_list = True
        return super().show_list(request, extra_context)

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> _Context:
        """What the parts show besides the rows."""
        context: _Context = {}
        for part in self.bound_parts:
            context.update(part.list_context(request, changelist))
        return context

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list. Its base class may be a theme's."""
        return type(
            "RowList", (_RowList, super().get_changelist(request, **kwargs)), {"request": request}
        )

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Lets the parts read what the page of the list shows."""
        page_of(request).show(changelist.result_list)
        for part in self.bound_parts:
            part.open_list(request, changelist)

    def list_ordering(self, request: HttpRequest, name: str) -> Any:
        """Returns the expression that a column is sorted by."""
        expression = self.first(lambda part: part.list_ordering(request, name))
        return name if expression is None else expression

    def get_list_display(self, request: HttpRequest) -> Any:
        """The columns."""
        columns: Sequence[Any] = super().get_list_display(request)
        return self.ask(columns, lambda part, some: part.list_display(request, some))

    def action_checkbox(self, obj: Any) -> SafeString:
        """The box that selects a row. Django renders three templates for each."""
        box = super().action_checkbox
        if getattr(box, "__func__", box) is not _CHECKBOX:
            # A theme's.
            return box(obj)
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">',
            ACTION_CHECKBOX_NAME,
            obj.pk,
            format_html(gettext(_SELECT), str(obj)),
        )

    def get_paginator(
        self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any
    ) -> Paginator[Any]:
        """The pages of the list."""
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        if queryset.model is self.model:
            count = self.first(lambda part: part.list_count(request, queryset))
            if count is not None:
                paginator.count = count
        return paginator

    def ask(self, value: _Value, change: Callable[[Part, Any], Any]) -> _Value:
        """Returns a value after each part has changed it."""
        return reduce(lambda known, part: change(part, known), self.bound_parts, value)

    def first(self, ask: Callable[[Part], _Value | None]) -> _Value | None:
        """Returns the first result of a part that is not None."""
        results = map(ask, self.bound_parts)
        return next((result for result in results if result is not None), None)


class _RowList(_ChangeList):
    """A list whose parts read what its page shows, and which sorts columns by expressions."""

    model_admin: PartsAdmin
    request: HttpRequest

    def get_ordering_field(self, field_name: Any) -> Any:
        found = super().get_ordering_field(field_name)
        return (
            self.model_admin.list_ordering(self.request, found) if isinstance(found, str) else found
        )

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.model_admin.open_list(request, self)
