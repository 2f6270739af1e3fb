"""Form fields for JSON: of values, of rules, and of the conditions of segments."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

from flagstaff._words.json_text import (
    DuplicateNameError,
    UnreadableJson,
    object_of_pairs,
    why_undecodable,
)
from flagstaff._words.rule_json import conditions_json, rules_json
from flagstaff.admin.saving import set_widget

# A longer text makes the page slow.
_MAX_INDENTED = 64_000
# The escape of NUL: an odd number of backslashes. An even number is a text about the escape.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class ValueField(forms.JSONField):
    """A JSON field that rejects what PostgreSQL cannot store."""

    default_error_messages = {
        "invalid": _(
            "not valid JSON (line %(line)d, column %(column)d); "
            'put strings in double quotes, such as "stripe"'
        ),
        "unstorable": _(
            "PostgreSQL cannot store NaN, Infinity, \\u0000 or half of a surrogate pair"
        ),
        "duplicate": _("an object has the name %(name)s twice; remove one"),
        "undecodable": _(
            "a number has more than 4,300 digits, or the nesting more than 500 levels"
        ),
    }

    def prepare_value(self, value: object) -> Any:
        """The text in the form. Empty for a new or unreadable value, which has no text."""
        is_empty = value is None or isinstance(value, UnreadableJson)
        return "" if is_empty else super().prepare_value(value)

    def to_python(self, value: object) -> Any:
        """Parses the text. Raises ValidationError with the line and column of the error."""
        if isinstance(value, str) and why_undecodable(value):
            raise ValidationError(self.error_messages["undecodable"], code="undecodable")
        try:
            parsed = super().to_python(value)
        except ValidationError as error:
            text = self.error_messages["invalid"]
            raise ValidationError(text, code="invalid", params=_position(str(value))) from error
        self._forbid_duplicate_names(value)
        return parsed

    def _forbid_duplicate_names(self, value: object) -> None:
        if not isinstance(value, str) or self.disabled or not value:
            return
        try:
            json.loads(value, object_pairs_hook=object_of_pairs)
        except DuplicateNameError as error:
            text = self.error_messages["duplicate"]
            params = {"name": error.name}
            raise ValidationError(text, code="duplicate", params=params) from error

    def bound_data(self, data: object, initial: object) -> object:
        """The text as the user has typed it, not formatted again."""
        if self.disabled or data is None:
            return super().bound_data(data, initial)
        return InvalidJSONInput(data)

    def validate(self, value: object) -> None:
        """Rejects JSON that Python accepts and PostgreSQL does not."""
        super().validate(value)
        if not _is_storable(value):
            raise ValidationError(self.error_messages["unstorable"], code="unstorable")


class IndentedField(ValueField):
    """The JSON of a value, with objects and arrays over several lines."""

    def prepare_value(self, value: object) -> Any:
        """The text in the form: as it was typed, or indented unless that is too long."""
        if not isinstance(value, dict | list):
            return super().prepare_value(value)
        text = json.dumps(value, indent=2, ensure_ascii=False, cls=self.encoder)
        return text if len(text) <= _MAX_INDENTED else super().prepare_value(value)


class ChoicesField(ValueField):
    """The JSON list of the choices of a value. An empty text means any value."""

    def prepare_value(self, value: object) -> Any:
        """The text in the form."""
        return "" if value == [] else super().prepare_value(value)

    def to_python(self, value: object) -> Any:
        """Parses the text."""
        parsed = super().to_python(value)
        return [] if parsed is None else parsed


class RulesField(ValueField):
    """The JSON of rules, one condition a line. An empty text means no rules."""

    def prepare_value(self, value: object) -> Any:
        """The text in the form: as it was typed, or indented."""
        if value == []:
            return ""
        if value is None or isinstance(value, InvalidJSONInput | UnreadableJson):
            return super().prepare_value(value)
        return rules_json(value)

    def to_python(self, value: object) -> Any:
        """Parses the text."""
        parsed = super().to_python(value)
        return [] if parsed is None else parsed


class ConditionsField(ValueField):
    """The JSON of the conditions of a segment, one a line."""

    default_error_messages = {"required": _("write at least one condition")}

    def prepare_value(self, value: object) -> Any:
        """The text in the form: as it was typed, or indented."""
        if value is None or isinstance(value, InvalidJSONInput | UnreadableJson):
            return super().prepare_value(value)
        return conditions_json(value)


def as_json_area(field: forms.Field, rows: int = 4, css_class: str = "") -> forms.Field:
    """Returns the field as a text area with the attributes of the theme's."""
    attrs = field.widget.attrs
    classes = " ".join([*attrs.get("class", "").split(), "flagstaff-json", *css_class.split()])
    set_widget(field, AdminTextareaWidget({**attrs, "rows": rows, "class": classes}))
    return field


def _position(text: str) -> dict[str, int]:
    """The line and column of the syntax error."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return {"line": error.lineno, "column": error.colno}
    return {"line": 1, "column": 1}


def _is_storable(value: object) -> bool:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:
        return False
    return not _NUL.search(text)
