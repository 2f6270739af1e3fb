"""The owner, the tags and the review date of a flag in the admin: the inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.db.models import CharField
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.optional_fields import (
    OWNER,
    REVIEW_ON,
    TAGS,
    FlagModel,
    optional_fields,
)
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.saving import set_widget
from flagstaff.validators import tags_problem, validate_tags

#: The fields, in the order of the page.
OWNERSHIP = (OWNER, TAGS, REVIEW_ON)


class TagsField(forms.JSONField):
    """A line of tags with commas between them."""

    default_validators = [validate_tags]

    def prepare_value(self, value: object) -> Any:
        """The line: as it was typed, or of the stored tags."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        """Parses the line, or a list in JSON. A disabled field gets the stored tags."""
        if isinstance(value, list):
            return value
        if isinstance(given := _json(value), list):
            return given
        return [tag for part in str(value or "").split(",") if (tag := part.strip())]

    def bound_data(self, data: object, initial: object) -> object:
        """The line as the user has typed it."""
        return initial if self.disabled else data


def _json(text: object) -> object:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


class Ownership(Part):
    """The owner, the tags and the review date of a flag."""

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Makes tags a line of text."""
        if not self._is_tags(db_field):
            return {}
        separate = _("Separate them with commas.")
        help_text = f"{db_field.help_text} {separate}".strip()
        return {"form_class": TagsField, "help_text": help_text, "required": False}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field. Tags look like the theme's text inputs."""
        if not isinstance(field, TagsField) or field.widget.is_hidden:
            return field
        like = self.admin.formfield_for_dbfield(CharField(max_length=1), request)
        if like is not None:
            like.widget.attrs.pop("maxlength", None)
            set_widget(field, like.widget)
        return field

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """Tags that SQL has written and that are no list of texts."""
        is_usable = row is None or tags_problem(optional_fields(row).tags) is None
        return () if is_usable else (TAGS,)

    def _is_tags(self, db_field: DbField) -> bool:
        return db_field == FlagModel.of(self.admin.model).fields.get(TAGS)


def keep_missing_ownership(form: forms.ModelForm[Any]) -> None:
    """Keeps the fields that the submitted page lacks: it may be a page of an older version."""
    if not form.is_bound:
        return
    for name in form.fields.keys() & FlagModel.of(form._meta.model).fields.keys() & {*OWNERSHIP}:
        field = form.fields[name]
        if field.widget.value_omitted_from_data(form.data, form.files, form.add_prefix(name)):
            field.disabled = True
