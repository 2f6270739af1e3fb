"""The base of a part of an admin of rows: one thing that its pages show or do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.core.checks import CheckMessage, Error
from django.db.models import Model
from django.http import HttpRequest

from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.page import page_of
from flagstaff.history.kinds import Kind


class AdminOfParts(BaseAdmin):
    """What the parts know of their admin."""

    row_kind: ClassVar[Kind]
    #: The model whose fields the options name. A project's own model may have more.
    known_model: ClassVar[type[Model]]
    #: Bound to this admin, in the order in which they are asked.
    bound_parts: Sequence[Part] = ()

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


class Part:
    """A part of the admin of flags. By default, it adds nothing.

    It has no state of its own besides its admin: what a request has read is in `page_of(request)`.
    """

    def __init__(self, admin: AdminOfParts) -> None:
        self.admin = admin

    def media(self) -> forms.Media:
        """Returns the stylesheets and scripts of all pages."""
        return forms.Media()

    def new_row(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """Returns the URLs and texts of next steps after a row was added."""
        return ()
