"""The admin saves and deletes through `flagstaff.changes`, as commands and code do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.forms import BaseFormSet
from django.http import HttpRequest, HttpResponse

from flagstaff import changes
from flagstaff.admin.attribution import REASON
from flagstaff.admin.forms import VERSION, VersionedForm
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, NoHistoryError
from flagstaff.history.kinds import Kind

__all__ = ["SavingMixin"]

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

_CREATE: dict[Kind, Callable[..., changes.Changed]] = {
    Kind.FLAG: changes.create,
    Kind.VALUE: changes.create_value,
}
_UPDATE = {Kind.FLAG: changes.update, Kind.VALUE: changes.update_value}
_DELETE = {Kind.FLAG: changes.delete, Kind.VALUE: changes.delete_value}
# The attribute of a request whose save raised a conflict.
_CONFLICT = "_flagstaff_conflict"


class SavingMixin(_ModelAdmin):
    """Put it before ModelAdmin. Its form must be a VersionedForm."""

    kind = Kind.FLAG

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """The page that adds or changes a row. Shows a conflict on the form."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ConflictError as error:
            setattr(request, _CONFLICT, error)
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 (Django's signature)
        **kwargs: Any,
    ) -> type[VersionedForm]:
        """The class of the form. Django creates a new class for each request."""
        form = cast("type[VersionedForm]", super().get_form(request, obj, change, **kwargs))
        form.conflict = getattr(request, _CONFLICT, None)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> _FieldsetSpec:
        """The fields, with the reason for users who may save."""
        fieldsets = super().get_fieldsets(request, obj)
        may_save = self.has_change_permission if obj else self.has_add_permission
        if not may_save(request, *([obj] if obj else [])):
            return fieldsets
        return (*fieldsets, (None, {"fields": (REASON, VERSION)}))

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: VersionedForm,
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Writes the changed fields, allowed users included. Raises ConflictError."""
        if change:
            self._update(form)
            return
        names = {field.name for field in (*obj._meta.concrete_fields, *obj._meta.many_to_many)}
        _CREATE[self.kind](**{k: v for k, v in form.cleaned_data.items() if k in names})
        obj.pk = self.kind.row(obj.key).pk
        obj._state.adding = False

    def _update(self, form: VersionedForm) -> None:
        update, fields = _UPDATE[self.kind], form.changed_fields
        try:
            update(form.initial_key, fields, expect_version=form.cleaned_data.get(VERSION))
        except NoHistoryError:
            # Without triggers there are no versions to compare; a system check reports that.
            update(form.initial_key, fields)

    def save_related(
        self,
        request: HttpRequest,
        form: VersionedForm,
        formsets: Iterable[BaseFormSet[Any]],
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Saves the formsets only: `save_model` has written the allowed users."""
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Deletes one row."""
        _DELETE[self.kind](obj.key)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Deletes all rows, or none if one fails."""
        with transaction.atomic(using=conf.database):
            for key in queryset.order_by("pk").values_list("key", flat=True):
                _DELETE[self.kind](key)
