"""The admin of a project's own models, which may have fewer or more fields than flagstaff's."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.db.models import AutoField, Model

from flagstaff.admin.mixin_base import ModelAdminMixin

# Columns of the lists that show a field under another name.
_FIELD_OF_COLUMN = {"changed": "changed_at", "short_description": "description"}
# Options that name anything with a value, and options that name what a query can use.
_COLUMN_OPTIONS = ("list_display", "readonly_fields")
_QUERY_OPTIONS = ("list_filter", "search_fields")

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


class OwnFieldsMixin(ModelAdminMixin):
    """Leaves out fields that the model lacks, and finds others. Put it before ModelAdmin."""

    #: The abstract model whose fields the options name.
    known_model: type[Model]

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        # Other names stay: Django's checks report a wrong one.
        self._lacking = field_names(self.known_model) - field_names(model)
        for option in _COLUMN_OPTIONS:
            names = getattr(self, option)
            known_names = tuple(
                name for name in names if self._has_attribute(name) or not self._lacks(name)
            )
            setattr(self, option, known_names)
        for option in _QUERY_OPTIONS:
            names = getattr(self, option)
            setattr(self, option, tuple(name for name in names if not self._lacks(name)))

    def present(self, names: Collection[Any]) -> tuple[Any, ...]:
        """Returns the names that a form can show: without those that the model lacks.

        A line of several fields is a list or tuple.
        """
        lines = (self._present_line(line) for line in names)
        return tuple(line for line in lines if line)

    def _present_line(self, line: Any) -> Any:
        if isinstance(line, str):
            return line if line in self.readonly_fields or not self._lacks(line) else None
        return self.present(line)

    def present_fieldsets(self, fieldsets: _FieldsetSpec | None) -> _FieldsetSpec:
        """Returns the fieldsets without these fields, and without those that are then empty."""
        return tuple(
            (name, {**options, "fields": fields})
            for name, options in fieldsets or ()
            if (fields := self.present(options["fields"]))
        )

    def known_names(self) -> set[str]:
        """Returns the names of flagstaff's fields."""
        return field_names(self.known_model)

    def other_fields(self) -> tuple[str, ...]:
        """Returns the editable columns that flagstaff does not know."""
        known = self.known_names()
        return tuple(
            field.name
            for field in self.model._meta.concrete_fields
            if field.name not in known and field.editable and not _is_set_automatically(field)
        )

    def _lacks(self, name: object) -> bool:
        return isinstance(name, str) and _FIELD_OF_COLUMN.get(name, name) in self._lacking

    def _has_attribute(self, name: object) -> bool:
        """Whether a subclass or the model has a method or property of this name."""
        if not isinstance(name, str):
            return False
        # A column of flagstaff under another name sorts by the field, so the field is needed.
        in_model = name not in _FIELD_OF_COLUMN and hasattr(self.model, name)
        own = type(self)
        flagstaffs = next(base for base in own.__mro__ if "known_model" in vars(base))
        return in_model or getattr(own, name, None) is not getattr(flagstaffs, name, None)


def field_names(model: type[Model]) -> set[str]:
    """Returns the names of a model's own and inherited fields."""
    meta = model._meta
    return {field.name for field in (*meta.fields, *meta.many_to_many)}


def _is_set_automatically(field: Any) -> bool:
    is_key = field.primary_key and (isinstance(field, AutoField) or field.has_default())
    return is_key or field.auto_created
