"""What the models say of the fields of a file, asked of all of them before any is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from flagstaff.changes.fields import validate, validate_new
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import MASK, Entry
from flagstaff.serialization.fields import exported_fields, parse
from flagstaff.serialization.problems import Problems

__all__ = ["check_new", "check_present", "wanted_fields"]

_VALUE = "value"


def wanted_fields(entry: Entry, row: Any, problems: Problems) -> dict[str, Any]:
    """What a file wants of a row, by the attributes of the model. A mask is never wanted."""
    said = dict(entry.fields)
    if entry.kind is Kind.VALUE and said.get(_VALUE) == MASK:
        del said[_VALUE]
        if row is None:
            text = "is masked, and there is no such value here to be left as it is; write it out"
            problems.add((*entry.path, _VALUE), text)
    elif entry.kind is Kind.VALUE and row is None and _VALUE not in said:
        problems.add_first((*entry.path, _VALUE), "is needed for a new value")
    known = exported_fields(entry.kind)
    return {known[name].attname: parse(known[name], value) for name, value in said.items()}


def check_new(entry: Entry, fields: Mapping[str, Any], problems: Problems) -> None:
    """Have the model look at a row that is not there yet."""
    row = entry.kind.model(key=entry.key, **fields)
    try:
        validate_new(row)
    except ValidationError as error:
        for name, texts in error.message_dict.items():
            if problems.is_told_at((*entry.path, name)):
                continue
            below = (name,) if name in entry.fields else ()
            told = texts if below or name in ("key", "__all__") else [f"{name}: {texts[0]}"]
            problems.add((*entry.path, *below), " ".join(told))


def check_present(entry: Entry, row: Any, fields: Mapping[str, Any], problems: Problems) -> None:
    """Have the model look at those fields of a row that would change."""
    for name, one in exported_fields(entry.kind).items():
        if one.attname in fields:
            try:
                validate(row, one.attname, fields[one.attname])
            except InvalidChangeError as error:
                told = str(error).removeprefix(f"{one.attname}: ")
                problems.add((*entry.path, name), told)
