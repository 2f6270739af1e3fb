"""What users see of a flag who may only toggle it, or only view it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.contrib.admin import display
from django.db.models import BooleanField
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.model_fields import TAGS
from flagstaff._tables.tags import joined_tags
from flagstaff.actions.rights import TOGGLE_FIELDS
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import page_of, stored_row
from flagstaff.admin.part import AdminOfParts, DbField, Part
from flagstaff.admin.rights import may
from flagstaff.validators import tags_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


_EMPTY: tuple[object, ...] = (None, "", [])


class ToggleRights(Part):
    """Users who may only toggle flags can open the pages of flags, and use part of the form."""

    def open_form(self, request: HttpRequest, object_id: str) -> None:
        """Marks the page of a flag. For Django, a user who may toggle the flag may change it."""
        if (flag := self.admin.get_object(request, object_id)) is not None:
            mark_toggle_page(self.admin, request, flag)

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """For a user who may only toggle, all other fields."""
        if not page_of(request).is_toggle:
            return ()
        fields = (*self.admin.opts.concrete_fields, *self.admin.opts.many_to_many)
        return [one.name for one in fields if one.name not in TOGGLE_FIELDS]


def mark_toggle_page(model_admin: AdminOfParts, request: HttpRequest, flag: Any) -> None:
    """Lets a user who may only toggle flags use this part of the form of this one."""
    may_change = model_admin.has_change_permission(request, flag)
    if not may_change and may(model_admin.admin_site, request, "toggle", flag):
        page_of(request).is_toggle = True


class ReadOnlyWords(Part):
    """Words in place of JSON and pictures, and no empty rows, for these users. Comes last."""

    def __init__(self, admin: AdminOfParts) -> None:
        super().__init__(admin)
        self._words: dict[str, str] = {}
        for field in admin.opts.concrete_fields:
            if text := _text_of(field):
                name = self._words[field.name] = f"{field.name}_in_words"
                admin.set_options(**{name: text})

    def readonly_fields(self, request: HttpRequest, row: Any) -> tuple[str, ...]:
        """The words are no fields of the form."""
        return tuple(self._words.values()) if page_of(request).is_toggle else ()

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections, without rows that say nothing."""
        is_toggle = page_of(request).is_toggle
        if row is None or (self.admin.has_change_permission(request, row) and not is_toggle):
            return fieldsets
        others = self._others(stored_row(row))
        if is_toggle:
            others = {name: new for name, new in others.items() if name not in TOGGLE_FIELDS}
        shown = replaced_fields(fieldsets, others)
        return tuple((title, options) for title, options in shown if options["fields"])

    def _others(self, row: Any) -> Mapping[str, tuple[str, ...]]:
        """What is shown in the place of a field: nothing, or its words."""
        others: dict[str, tuple[str, ...]] = {}
        for field in self.admin.opts.concrete_fields:
            value = getattr(row, field.attname)
            if value in _EMPTY:
                others[field.name] = ()
            elif field.name in self._words and (field.name != TAGS or tags_problem(value) is None):
                others[field.name] = (self._words[field.name],)
        return others


def _text_of(field: DbField) -> Callable[[Any], str] | None:
    """Returns the method that shows a field in words; None for a field that Django shows well."""
    # A function of its own for each admin: the fields of two models may have other names.
    if field.name == TAGS:
        return display(description=field.verbose_name)(lambda flag: joined_tags(flag.tags))
    if isinstance(field, BooleanField):
        return display(description=field.verbose_name)(
            lambda flag: _("yes") if getattr(flag, field.attname) else _("no")
        )
    return None
