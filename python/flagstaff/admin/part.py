"""The base of a part of an admin of rows: one thing that its pages show or do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django import forms
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage, Error
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern

from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of
from flagstaff.changes.changed import Changed, Undo
from flagstaff.history.kinds import Kind

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

DbField: TypeAlias = "Field[Any, Any]"
FormField: TypeAlias = forms.Field
#: What Django's page of a deletion lists: lines, counts, missing permissions, protected rows.
Deleted: TypeAlias = tuple[list[Any], dict[str, int], set[str], list[Any]]


class AdminOfParts(BaseAdmin):
    """What the parts know of their admin."""

    row_kind: ClassVar[Kind]
    #: The model whose fields the options name. A project's own model may have more.
    known_model: ClassVar[type[Model]]
    #: Bound to this admin, in the order in which they are asked.
    bound_parts: tuple[Part, ...]

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Returns what is wrong with the options. A list cannot merge or confirm edits."""
        found = super().check(**kwargs)
        if self.list_editable:
            text = "list_editable cannot be used: a list neither merges nor confirms edits"
            hint = "remove it, and edit rows on their pages"
            found.append(Error(text, hint=hint, obj=type(self), id="flagstaff.E048"))
        return found

    def set_options(self, **options: object) -> None:
        """Changes options of this admin, such as `list_filter`."""
        for name, value in options.items():
            setattr(self, name, value)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row of a page."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            page_of(request).open_row(row)
        return row


class Part:
    """A part of a RowAdmin, which asks its parts in their order. By default, it adds nothing.

    It has no state of its own besides its admin: what a request has read is in `page_of(request)`.
    """

    #: Methods that show a row in a list or on its page. The options of the admin can name them,
    #: and a method of the admin with the same name comes first.
    displays: ClassVar[tuple[str, ...]] = ()
    #: Methods that are actions of the list, called with the admin, the request and the rows.
    actions: tuple[str, ...] = ()

    def __init__(self, admin: AdminOfParts) -> None:
        self.admin = admin

    def set_options(self) -> None:
        """Changes the options of the admin at its start, for the fields that the model has."""

    def urls(self) -> Sequence[URLPattern]:
        """Returns URL patterns of pages of its own."""
        return ()

    def media(self) -> forms.Media:
        """Returns the stylesheets and scripts of all pages."""
        return forms.Media()

    def allows_lookup(self, field: str, request: HttpRequest) -> bool:
        """Whether the URL of the list may filter by a field."""
        return True

    # The list.

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Returns the rows that the pages read."""
        return rows

    def list_display(self, request: HttpRequest, columns: Sequence[Any]) -> Sequence[Any]:
        """Returns the columns of the list."""
        return columns

    def list_ordering(self, request: HttpRequest, name: str) -> Any:
        """Returns the expression by which a column is sorted; None for the column itself."""
        return None

    def list_count(self, request: HttpRequest, rows: QuerySet[Any]) -> int | None:
        """Returns the number of the rows of a list if it is known without a query."""
        return None

    def list_response(self, request: HttpRequest) -> HttpResponse | None:
        """Returns a page instead of the list."""
        return None

    def action_response(self, request: HttpRequest, page: TemplateResponse) -> HttpResponse:
        """Returns the page of an action, given Django's or the project's."""
        return page

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Reads what the cells show besides the rows of the page, which have been read."""

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> Mapping[str, object]:
        """Returns what the template of the list shows besides the rows."""
        return {}

    # The page of a row.

    def open_form(self, request: HttpRequest, object_id: str) -> None:
        """Prepares the page of an existing row."""

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """Returns further read-only fields. `row` is None on the page that adds one."""
        return ()

    def fields(self, request: HttpRequest, row: Any) -> Sequence[Any] | None:
        """Returns the fields of a form without sections; None for those of the options."""
        return None

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """Returns the sections of the form."""
        return fieldsets

    def autocomplete_fields(self, request: HttpRequest) -> Iterable[str]:
        """Returns the fields in which the user can search."""
        return ()

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Returns arguments for the form field of a model's field."""
        return {}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """Returns the form field of a model's field, such as with another widget."""
        return field

    def open_new(self, request: HttpRequest, initial: Mapping[str, Any]) -> None:
        """Prepares the page that adds a row. `initial` are the values of the empty form."""

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """Returns what the template of the page shows besides the form."""
        return {}

    # Saving and deleting.

    def before_save(self, request: HttpRequest, form: MergingForm) -> None:
        """Checks a valid form. Raises FlagstaffError to refuse it.

        To ask for a confirmation, sets the question of the page.
        """

    def after_save(self, request: HttpRequest, form: MergingForm, *, is_new: bool) -> None:
        """Reports what was written, inside the transaction."""

    def new_row(self, request: HttpRequest, row: Any) -> tuple[str, Sequence[tuple[str, str]]]:
        """Returns a sentence about a row that was added, and the URLs and texts of next steps."""
        return "", ()

    def delete_response(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """Returns a page instead of Django's page that deletes a row."""
        return None

    def deleted_objects(self, request: HttpRequest, rows: Iterable[Any], found: Deleted) -> Deleted:
        """Returns what the page of a deletion lists. Raises FlagstaffError to refuse it."""
        return found

    def after_delete(
        self, request: HttpRequest, deleted: Sequence[Changed], undo: Undo | None
    ) -> None:
        """Reports what was deleted."""
