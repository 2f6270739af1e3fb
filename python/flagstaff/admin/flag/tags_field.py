"""The form field of tags."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from flagstaff.validators import validate_tags


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
