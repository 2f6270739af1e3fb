"""The base of an admin of rows, and of what an optional app adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.core.checks import CheckMessage, Error
from django.db.models import Model
from django.http import HttpRequest

from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.page import page_of
from flagstaff.history.kinds import Kind


class AdminOfParts(BaseAdmin):
    """What the parts know of their admin."""

    row_kind: ClassVar[Kind]
    #: The model whose fields the options name. A project's own model may have more.
    known_model: ClassVar[type[Model]]
    #: Bound to this admin, in the order in which they are asked.
    bound_parts: Sequence[AppPart] = ()

    # Not in a class with a `Media`, which would be ignored.
    @property
    def media(self) -> forms.Media:
        """The stylesheets and scripts, with those of the parts."""
        return sum((part.media() for part in self.bound_parts), super().media)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Returns what is wrong with the options. A list cannot merge or confirm edits."""
        found = super().check(**kwargs)
        if self.list_editable:
            text = "list_editable cannot be used: a list neither merges nor confirms edits"
            hint = "remove it, and edit rows on their pages"
            found.append(Error(text, hint=hint, obj=type(self), id="flagstaff.E048"))
        return found

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row of a page."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            page_of(request).show([row])
        return row


class AppPart:
    """The base of the part that an optional app adds to the admin of flags, and of stale signals.

    It has no state of its own besides its admin: what a request has read is in `page_of(request)`.
    What fails is left out: the pages must work without the tables of the app.
    """

    #: The label of the app.
    app_label: ClassVar[str]
    #: The heading of the panel.
    panel_title: ClassVar[Any] = ""

    def __init__(self, admin: AdminOfParts) -> None:
        self.admin = admin

    def media(self) -> forms.Media:
        """Returns the stylesheets and scripts of all pages."""
        return forms.Media()

    def new_row(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """Returns the URLs and texts of next steps after a row was added."""
        return ()

    def panel(self, request: HttpRequest, flag: Any) -> str:
        """Returns what the page of a flag shows of the app, as HTML."""
        return ""

    def notes(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """Returns a short text or HTML for some flags of a list, by the text of the primary key.

        Makes a number of queries that does not depend on the number of flags.
        """
        return {}

    def attention(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """Returns a few words for flags that somebody must look at, as `notes` does.

        The list, the page of the flag and its head show them in red.
        """
        return {}

    def rows_of_change(self, flags: Sequence[Any]) -> Mapping[str, PreviewRow]:
        """Returns what a change of who has a flag does to the app's rows, as `notes` does.

        The pages that confirm such a change by hand show it.
        """
        return {}

    def call(self, method: str, *arguments: Any, default: Any) -> Any:
        """Returns what a method of the app returns; `default` if it fails."""
        call = partial(getattr(self, method), *arguments)
        # Each call that may fail needs a savepoint.
        if getattr(type(self), method) is getattr(AppPart, method):
            return call()
        problem = f"the app {self.app_label} cannot show its part of the flags"
        return value_or_default(problem, call, default)
