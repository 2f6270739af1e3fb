"""A column of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.fields.json import KeyTransform

from flagstaff._words.message import from_json, to_json
from flagstaff._words.storable import storable

if TYPE_CHECKING:
    _JSONField = models.JSONField[Any, Any]
else:
    _JSONField = models.JSONField


class MessageField(_JSONField):
    """Stores a message with its code and values, so that pages can show it in each language.

    Its Python value is a text: a plain one if this version does not know the code. An empty text is
    stored as {}. Use `default=str` for it. Lookups compare the JSON, such as `reason__code`.
    """

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Returns what is stored. Characters that PostgreSQL cannot store are replaced."""
        stored = _storable(_as_json(value)) if isinstance(value, str) else value
        return super().get_db_prep_save(stored, connection)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Returns the message; for a lookup of a member, such as `reason__code`, its value."""
        stored = super().from_db_value(value, expression, connection)
        return stored if isinstance(expression, KeyTransform) else from_json(stored)

    def to_python(self, value: Any) -> Any:
        """Returns the message of a fixture."""
        return from_json(value) if isinstance(value, dict) else value

    def value_to_string(self, obj: models.Model) -> Any:
        """Returns what a fixture contains."""
        return _as_json(self.value_from_object(obj))

    def deconstruct(self) -> Any:
        """Returns the field for migrations: the column is that of any JSON."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, options


def _as_json(text: str) -> dict[str, object]:
    return to_json(text) if text else {}


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {name: _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list) else value
