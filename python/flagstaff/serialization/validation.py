"""Validates the items of a file with the models, before anything is written."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from flagstaff._tables.decoding import SECRET_FIELDS
from flagstaff._tables.rows import Fields, Row
from flagstaff.changes.fields import validate, validate_new
from flagstaff.changes.value_rules import value_rule_problems_of
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import MASK, Item
from flagstaff.serialization.fields import exported_fields, parse
from flagstaff.serialization.problems import Problems

_VALUE = "value"
# Fields without a default.
_REQUIRED = {Kind.VALUE: _VALUE, Kind.SEGMENT: "conditions"}


def parsed_fields(item: Item, row: Row | None, problems: Problems) -> dict[str, object]:
    """Returns the fields of an item by the model's attributes, without masked ones."""
    fields = dict(item.fields)
    for masked in SECRET_FIELDS if item.kind is Kind.VALUE else ():
        if fields.get(masked) == MASK:
            del fields[masked]
            if row is None:
                text = "is masked, and there is no such value in the database; write the real "
                text += masked
                problems.add((*item.path, masked), text)
    name = _REQUIRED.get(item.kind)
    if name and row is None and name not in item.fields:
        problems.add_first((*item.path, name), f"is required for a new {item.kind.value}")
    model_fields = exported_fields(item.kind)
    return {
        model_fields[name].attname: parse(model_fields[name], value)
        for name, value in fields.items()
    }


def check_new(item: Item, fields: Fields, problems: Problems) -> None:
    """Validates a row that would be created."""
    row = item.kind.model(key=item.key, **fields)
    try:
        validate_new(row)
    except ValidationError as error:
        for name, texts in error.message_dict.items():
            if problems.exists_at((*item.path, name)):
                continue
            if name in item.fields:
                problems.add((*item.path, name), " ".join(texts))
            else:
                own_text = name in ("key", "__all__")
                problems.add(item.path, " ".join(texts) if own_text else f"{name}: {texts[0]}")


def check_changed(item: Item, row: Row, fields: Fields, problems: Problems) -> None:
    """Validates the fields of a row that would change."""
    for name, field in exported_fields(item.kind).items():
        if field.attname in fields:
            try:
                validate(row, field.attname, fields[field.attname])
            except InvalidChangeError as error:
                text = str(error).removeprefix(f"{field.attname}: ")
                problems.add((*item.path, name), text)
    for name, text in value_rule_problems_of(row, fields).items():
        if not problems.exists_at((*item.path, name)):
            problems.add((*item.path, name), text)
