"""The fields of a row that an action sets, as arguments: ours, and columns of the project."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, DateField, DateTimeField, JSONField, Model

from flagstaff._tables.model_fields import (
    RULES,
    TAGS,
    AnyField,
    is_auto_now,
    is_auto_now_add,
    stored_fields,
)
from flagstaff.actions.arguments import (
    Argument,
    Given,
    JsonFile,
    JsonText,
    OneOf,
    Parsed,
    Tags,
    YesNo,
)
from flagstaff.exceptions import InvalidArgumentError

_ANY = "any"


def fields_of(
    model: Callable[[], type[Model]], ours: type[Model], *, without: Collection[str]
) -> Callable[[], Mapping[str, Argument]]:
    """Returns what gives the fields of a model that a person sets, but for some.

    `ours` is the model of flagstaff that it extends. Columns of the project share one option.
    """

    def fields() -> Mapping[str, Argument]:
        known = {field.name for field in ours._meta.get_fields()}
        editable = [field for field in stored_fields(model()) if _is_editable(field)]
        found = {
            field.name: _argument(field)
            for field in editable
            if field.name in known and field.name not in without
        }
        own = {field.name: field for field in editable if field.name not in known}
        return found | ({"own_fields": OwnFields.of(own)} if own else {})

    return fields


@dataclass(frozen=True)
class OwnFields(Argument):
    """Columns that the project has added to the model: `--set NAME=VALUE`."""

    columns: Mapping[str, AnyField] = dataclass_field(default_factory=dict)

    @classmethod
    def of(cls, columns: Mapping[str, AnyField]) -> OwnFields:
        """Returns the argument for these columns."""
        return cls(
            f"a column of your model: {', '.join(columns)}; can be repeated", "NAME=VALUE", columns
        )

    def option(self, name: str) -> str:
        return "--set"

    def parsing(self) -> dict[str, Any]:
        return {"action": "append"}

    def read(self, name: str, given: Given) -> dict[str, Any]:
        return dict(map(self._pair, given.options[name] or ()))

    def _pair(self, typed: str) -> tuple[str, Any]:
        name, _, text = typed.partition("=")
        if name not in self.columns:
            text = "--set {typed}: the columns of your model are {names}"
            raise InvalidArgumentError(text, typed=repr(typed), names=", ".join(self.columns))
        field = self.columns[name]
        try:
            return name, _value(field, text)
        except (ValidationError, ArgumentTypeError) as error:
            problem = " ".join(getattr(error, "messages", [str(error)]))
            raise InvalidArgumentError(
                "--set {name}: {problem}", name=name, problem=problem
            ) from error


def _value(field: AnyField, text: str) -> Any:
    """Returns the value of a column. Raises ValidationError."""
    if field.null and not text:
        return None
    if isinstance(field, JSONField):
        return JsonText.parse(text)
    # Django reads "True" only.
    return field.to_python(text.capitalize() if isinstance(field, BooleanField) else text)


def _is_editable(field: AnyField) -> bool:
    is_clock = is_auto_now(field) or is_auto_now_add(field)
    return field.editable and not (is_clock or field.primary_key or field.name == "key")


def _argument(field: AnyField) -> Argument:
    """Returns the argument for a field of flagstaff."""
    text = str(field.help_text or field.verbose_name).rstrip(".").replace("%", "%%")
    if isinstance(field, BooleanField):
        return YesNo(text)
    if isinstance(field, DateField) and not isinstance(field, DateTimeField):
        return Parsed(f'{text}; YYYY-MM-DD, or "" for none', "DATE", day, clears=True)
    if field.name == TAGS:
        return Tags(f'{text}; can be repeated, replaces all, "" for none')
    if isinstance(field, JSONField):
        # The rules are long, so a file may have them.
        return (
            JsonFile(f"{text}; JSON, or a file with it") if field.name == RULES else JsonText(text)
        )
    if field.choices and field.blank:
        return OneOf(text, choices={str(value) or _ANY: value for value, _ in field.flatchoices})
    return Argument(text)


def day(text: str) -> date:
    """Parses a day such as "2027-03-01", and in no other form, such as a week."""
    parsed = None
    with suppress(ValueError):
        parsed = date.fromisoformat(text)
    # From Python 3.11 on, other forms of ISO 8601 are read, too.
    if parsed is None or parsed.isoformat() != text:
        raise ArgumentTypeError(f"expected a date such as 2027-03-01, not {text!r}")
    return parsed
