"""What the admin saves and deletes goes the way that every change goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from flagstaff import changes
from flagstaff.admin.attribution import REASON
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

__all__ = ["SavingMixin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

_CREATES: dict[Kind, Callable[..., changes.Changed]] = {
    Kind.FLAG: changes.create,
    Kind.VALUE: changes.create_value,
}
_EDITS = {Kind.FLAG: changes.update, Kind.VALUE: changes.update_value}
_DELETES = {Kind.FLAG: changes.delete, Kind.VALUE: changes.delete_value}


class SavingMixin(_ModelAdmin):
    """Goes before ModelAdmin; its form is a VersionedForm."""

    kind = Kind.FLAG

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields, with one for the reason where there is something to save."""
        fieldsets = super().get_fieldsets(request, obj)
        may_save = self.has_change_permission if obj else self.has_add_permission
        if not may_save(request, *([obj] if obj else [])):
            return fieldsets
        return (*fieldsets, (None, {"fields": (REASON, "expect_version")}))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Write what was changed in the form, allow-list and all."""
        if change:
            fields = {name: form.cleaned_data[name] for name in form.moved}
            _EDITS[self.kind](form.key_before, fields)
            return
        names = [name for name in form.cleaned_data if name in _fields_of(obj)]
        fields = {name: form.cleaned_data[name] for name in names}
        _CREATES[self.kind](**fields)
        obj.pk = self.kind.row(obj.key).pk
        obj._state.adding = False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """The allow-list is written with the rest."""
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one."""
        _DELETES[self.kind](obj.key)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete some, or none of them."""
        with transaction.atomic(using=conf.database):
            for key in queryset.order_by("pk").values_list("key", flat=True):
                _DELETES[self.kind](key)


def _fields_of(row: Any) -> set[str]:
    return {field.name for field in (*row._meta.concrete_fields, *row._meta.many_to_many)}
