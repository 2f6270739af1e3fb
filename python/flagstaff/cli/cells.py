"""A field of a record → the text of a cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model
from django.utils import timezone

__all__ = ["Column", "Record", "as_json", "plain", "with_fields"]

Record = Mapping[str, Any]


def _no_role(_record: Record) -> None:
    return None


@dataclass(frozen=True)
class Column:
    """A field of the records, and how a person is shown it. A pipe gets the field as it is."""

    name: str
    shown: Callable[[Record], str] | None = None
    header: str | None = None
    #: Whether the text may be cut where the terminal is too narrow.
    cut: bool = False
    right: bool = False
    #: Which of Django's terminal colours the cell has.
    role: Callable[[Record], str | None] = _no_role

    @property
    def title(self) -> str:
        """What stands above the column."""
        return self.name.upper().replace("_", " ") if self.header is None else self.header

    def for_person(self, record: Record) -> str:
        """The cell in a table."""
        return plain(self.shown(record) if self.shown else _for_person(record[self.name]))

    def for_pipe(self, record: Record) -> str:
        """The cell between tabs."""
        return plain(_for_pipe(record[self.name]))


class _Encoder(DjangoJSONEncoder):
    """A project's own models may have fields of any kind."""

    def default(self, o: Any) -> Any:
        if isinstance(o, Decimal) and o.is_finite():
            return int(o) if o == int(o) else float(o)
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def as_json(value: Any, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """The JSON text of anything that a model's field holds, safe to show on a terminal."""
    text = json.dumps(value, cls=_Encoder, ensure_ascii=ascii_only, indent=indent)
    if ascii_only or text.replace("\n", "").isprintable():
        return text
    return as_json(value, ascii_only=True, indent=indent)


def with_fields(row: Model, first: dict[str, Any]) -> dict[str, Any]:
    """A record of all the fields of a row, after those that matter most."""
    fields: list[Any] = [field for field in row._meta.concrete_fields if field.name not in first]
    return {**first, **{field.name: field.value_from_object(row) for field in fields}}


def plain(text: str) -> str:
    """One line without tabs, and without what would steer the terminal."""
    if text.isprintable():
        return text
    one_line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\ufffd" for char in one_line)


def _for_person(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        local = timezone.localtime(value) if timezone.is_aware(value) else value
        return f"{local:%Y-%m-%d %H:%M}"
    return _for_pipe(value)


def _for_pipe(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return as_json(value) if isinstance(value, bool | list | tuple | dict) else str(value)
