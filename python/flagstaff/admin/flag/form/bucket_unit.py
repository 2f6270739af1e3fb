"""The bucketing unit of a flag in the admin: its input, and its text in the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db.models import Field
from django.forms import TextInput
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY, USER, VISITOR, short_unit
from flagstaff._tables.optional_fields import FlagModel, optional_fields
from flagstaff._words.message import MessageError
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.saving import set_widget
from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import BUILT_IN
from flagstaff.models import FeatureFlag
from flagstaff.validators import unit_problem


class UnitInput(TextInput):
    """A text input that suggests the units that exist in every project, and the columns."""

    template_name = "flagstaff/unit_input.html"

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the suggestions."""
        suggestions = {"list": f"{name}_units", "autocomplete": "off"}
        context = super().get_context(name, value, {**suggestions, **(attrs or {})})
        columns = [one for one in conf.attributes.columns if one not in BUILT_IN]
        return {**context, "units": dict.fromkeys((USER, VISITOR, *columns))}


class BucketUnit(Part):
    """The bucketing unit of a flag: a text with suggestions."""

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Gives a project's own field the help text, too."""
        if not self._is_unit(db_field):
            return {}
        own = cast("Field[Any, Any]", FeatureFlag._meta.get_field(BUCKET_BY))
        # Not required: a text that only SQL can write must not stop other changes of the flag.
        return {"help_text": db_field.help_text or own.help_text, "required": False}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field, with suggestions."""
        is_text = isinstance(field, forms.CharField) and not field.widget.is_hidden
        if is_text and self._is_unit(db_field):
            set_widget(field, UnitInput(field.widget.attrs))
        return field

    def after_save(self, request: HttpRequest, form: MergingForm, *, is_new: bool) -> None:
        """Says what a new unit of an existing flag has done."""
        has_unit = FlagModel.of(self.admin.model).has(BUCKET_BY)
        if not is_new and BUCKET_BY in form.changed_data and has_unit:
            self.admin.message_user(request, reassigned_text(), messages.WARNING)

    def _is_unit(self, db_field: DbField) -> bool:
        return db_field == FlagModel.of(self.admin.model).fields.get(BUCKET_BY)


def reassigned_text() -> str:
    """Returns the message about a new unit that has been written."""
    return _(
        "The new unit reassigned every user. If the flag is on for a percentage, some users gained "
        "it and others lost it."
    )


def keep_missing_unit(form: forms.ModelForm[Any]) -> None:
    """Keeps the unit if the submitted page had none: it may be a page of an older version."""
    is_shown = BUCKET_BY in form.fields and FlagModel.of(form._meta.model).has(BUCKET_BY)
    if is_shown and form.is_bound and form.add_prefix(BUCKET_BY) not in form.data:
        form.fields[BUCKET_BY].disabled = True


def check_unit(form: forms.ModelForm[Any]) -> None:
    """Adds an error to a form in which an edited unit is not usable."""
    is_edited = BUCKET_BY in form.changed_data and BUCKET_BY in form.cleaned_data
    if not is_edited or not FlagModel.of(form._meta.model).has(BUCKET_BY):
        return
    unit = form.cleaned_data[BUCKET_BY]
    if unit is not None and (problem := unit_problem(unit)):
        form.add_error(BUCKET_BY, MessageError(problem))


def unit_note(flag: Any) -> str:
    """Returns what the percentage of a flag counts, for the list; "" if it counts users."""
    unit = optional_fields(flag).bucket_by
    if unit == USER:
        return ""
    return _("of visitors") if unit == VISITOR else _("by %(unit)s") % {"unit": short_unit(unit)}
