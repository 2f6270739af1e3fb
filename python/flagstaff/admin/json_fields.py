"""Form fields for JSON: of values, of rules, and of the conditions of segments."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from flagstaff._words.json_text import (
    DuplicateNameError,
    object_of_pairs,
    why_undecodable,
)
from flagstaff._words.rule_json import rules_json
from flagstaff._words.text import local_number
from flagstaff.validators import validate_tags

# A form with a longer text is slow, and up to six times as long: HTML escapes quotes.
_MAX_EDITABLE = 64_000
_TRAILING_COMMA = re.compile(r",\s*[}\]]")
_PYTHON = re.compile(r"(True|False|None)\b")
# What to do about a mistake.
_QUOTES = _('put strings in double quotes, such as "stripe"')
_NO_COMMA = _("remove the comma before the closing bracket")
_MISSING = _("a comma, a colon or a closing bracket is missing")
_ONE_VALUE = _("more text follows the end of the value; write several values as a list")
_LOWER_CASE = _("write true, false and null in lower case")
_UNFINISHED = _("the text ends too early")
# The escape of NUL: an odd number of backslashes. An even number is a text about the escape.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class ValueField(forms.JSONField):
    """A JSON field that rejects what PostgreSQL cannot store."""

    default_error_messages = {
        "invalid": _("not valid JSON (line %(line)d, column %(column)d); %(advice)s"),
        "unstorable": _(
            "PostgreSQL cannot store NaN, Infinity, \\u0000 or half of a surrogate pair"
        ),
        "duplicate": _("an object has the name %(name)s twice; remove one"),
        "undecodable": _(
            "a number has more than 4,300 digits, or the nesting more than 500 levels; write the "
            "number as a text, or split the value"
        ),
    }

    def prepare_value(self, value: object) -> Any:
        """The text in the form: as typed, or formatted. A new value has none."""
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None else self.text_of(value)

    def text_of(self, value: object) -> str:
        """The JSON of a stored value."""
        return json.dumps(value, ensure_ascii=False, cls=self.encoder)

    def to_python(self, value: object) -> Any:
        """Parses the text. Raises ValidationError with the line and column of the error."""
        if isinstance(value, str) and value and not self.disabled:
            if why_undecodable(value):
                raise self._error("undecodable")
            try:
                json.loads(value, object_pairs_hook=object_of_pairs)
            except DuplicateNameError as error:
                raise self._error("duplicate", name=error.name) from error
            except json.JSONDecodeError as error:
                place = {"line": error.lineno, "column": error.colno}
                raise self._error("invalid", **place, advice=_advice(value, error)) from error
        return super().to_python(value)

    def _error(self, code: str, **params: object) -> ValidationError:
        return ValidationError(self.error_messages[code], code=code, params=params)

    def bound_data(self, data: object, initial: object) -> object:
        """The text as the user has typed it, not formatted again."""
        if self.disabled or data is None:
            return super().bound_data(data, initial)
        return InvalidJSONInput(data)

    def validate(self, value: object) -> None:
        """Rejects JSON that Python accepts and PostgreSQL does not."""
        super().validate(value)
        if not _is_storable(value):
            raise self._error("unstorable")


class ListField(ValueField):
    """A JSON list, such as the choices of a value. An empty text is an empty list."""

    def text_of(self, value: object) -> str:
        """The JSON; empty for an empty list."""
        return "" if value == [] else super().text_of(value)

    def to_python(self, value: object) -> Any:
        """Parses the text."""
        parsed = super().to_python(value)
        return [] if parsed is None else parsed


class TagsField(forms.JSONField):
    """A line of tags with commas between them."""

    default_validators = [validate_tags]

    def prepare_value(self, value: object) -> Any:
        """The line: as it was typed, or of the stored tags."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        """Parses the line, or a list in JSON."""
        try:
            given = value if isinstance(value, list) else json.loads(str(value))
        except (ValueError, RecursionError):
            given = None
        if isinstance(given, list):
            return given
        return [tag for part in str(value or "").split(",") if (tag := part.strip())]

    def bound_data(self, data: object, initial: object) -> object:
        """The line as the user has typed it."""
        return initial if self.disabled else data


class RulesField(ListField):
    """The JSON of rules, one condition a line. An empty text means no rules."""

    def text_of(self, value: object) -> str:
        """The JSON, indented; empty without rules."""
        return "" if value == [] else rules_json(value)


class ConditionsField(ValueField):
    """The JSON of the conditions of a segment, one a line."""

    default_error_messages = {"required": _("write at least one condition")}

    def text_of(self, value: object) -> str:
        """The JSON, indented."""
        return rules_json(value)


def as_json_area(field: forms.Field, rows: int = 4, css_class: str = "") -> forms.Field:
    """Returns the field as a text area with the attributes of the theme's."""
    attrs = field.widget.attrs
    classes = " ".join([*attrs.get("class", "").split(), "flagstaff-json", *css_class.split()])
    set_widget(field, AdminTextareaWidget({**attrs, "rows": rows, "class": classes}))
    return field


def is_editable(value: object) -> bool:
    """Whether the JSON of a value is short enough for a form."""
    return len(_as_text(value)) <= _MAX_EDITABLE


def too_large_text(value: object, advice: str) -> str:
    """Returns the text of a page instead of JSON that is too large for its form."""
    count = len(_as_text(value))
    text = ngettext(
        "%(count)s character, too large to edit here. %(advice)s",
        "%(count)s characters, too large to edit here. %(advice)s",
        count,
    )
    return text % {"count": local_number(count), "advice": advice}


def _as_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _advice(text: str, error: json.JSONDecodeError) -> Promise:
    # Python 3.13 points at the comma, and older versions at the bracket behind it.
    before, after = text[: error.pos].rstrip(), text[error.pos :]
    if _TRAILING_COMMA.match(after) or (before.endswith(",") and after[:1] in {"}", "]"}):
        return _NO_COMMA
    if "delimiter" in error.msg:
        return _MISSING
    if error.msg == "Extra data" and before:
        return _ONE_VALUE
    if _PYTHON.match(after):
        return _LOWER_CASE
    return _UNFINISHED if not after.strip() and before else _QUOTES


def _is_storable(value: object) -> bool:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:
        return False
    return not _NUL.search(text)


def set_widget(field: forms.Field, widget: forms.Widget) -> None:
    """Replaces the widget of a form field."""
    widget.is_required = field.required
    field.widget = widget
