"""A field of a record → the text of a cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from flagstaff._text.times import aware, full_time

#: What a verb prints of one thing, by field. The values are of any type that JSON can hold.
Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A field of the records, and its text on a terminal. In a pipe the field is unchanged."""

    name: str
    text: Callable[[Record], str] | None = None
    header: str | None = None
    #: The text may be truncated if the terminal is too narrow.
    truncate: bool = False
    #: If the terminal is too narrow for the whole table, the text is printed below its row.
    below: bool = False
    align_right: bool = False
    #: A pipe has the text, too: the field is a list of sentences or words.
    is_text: bool = False
    #: The name of the cell's style in Django's terminal colours, or None.
    style: Callable[[Record], str | None] = lambda _record: None

    @property
    def title(self) -> str:
        """The header of the column."""
        return self.name.upper().replace("_", " ") if self.header is None else self.header

    def for_terminal(self, record: Record) -> str:
        """Returns the cell of a table."""
        return printable(self.text(record) if self.text else _terminal_text(record[self.name]))

    def for_pipe(self, record: Record) -> str:
        """Returns the cell between tabs."""
        if self.is_text:
            return self.for_terminal(record)
        return printable(_pipe_text(record[self.name]))


class FieldEncoder(DjangoJSONEncoder):
    """Encodes the value of any model field, also of a project's own."""

    def default(self, o: object) -> object:
        if isinstance(o, Decimal) and o.is_finite():
            return int(o) if o == int(o) else float(o)
        if isinstance(o, datetime):
            o = aware(o)
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def as_json(value: object, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """Returns JSON of the value of any model field, without control characters."""
    text = json.dumps(value, cls=FieldEncoder, ensure_ascii=ascii_only, indent=indent)
    if ascii_only or text.replace("\n", "").isprintable():
        return text
    return as_json(value, ascii_only=True, indent=indent)


def with_fields(row: Model, first: dict[str, object]) -> dict[str, object]:
    """Returns a record of `first` and then all other fields of the row."""
    fields = [field for field in row._meta.concrete_fields if field.name not in first]
    return {**first, **{field.name: field.value_from_object(row) for field in fields}}


def printable(text: str) -> str:
    """Returns one line without tabs and control characters."""
    if text.isprintable():
        return text
    one_line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\ufffd" for char in one_line)


def _terminal_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return full_time(value)
    return _pipe_text(value)


def _pipe_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return aware(value).isoformat()
    return as_json(value) if isinstance(value, bool | list | tuple | dict) else str(value)
