"""Validates the items of a file with the models, before anything is written."""

from __future__ import annotations

from flagstaff._tables.decoding import SECRET_FIELDS
from flagstaff._tables.rows import Fields, Row
from flagstaff._words.text import MASK, Text, marked
from flagstaff.changes.fields import problem_of, problems_of_new
from flagstaff.changes.value_schema import value_schema_problems_of
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import Item
from flagstaff.serialization.fields import exported_fields, parse
from flagstaff.serialization.problems import Problems

_REQUIRED = {
    Kind.VALUE: marked("is required for a new value"),
    Kind.SEGMENT: marked("is required for a new segment"),
}

_VALUE = "value"
# Fields without a default.
_REQUIRED_FIELDS = {Kind.VALUE: _VALUE, Kind.SEGMENT: "conditions"}


def parsed_fields(item: Item, row: Row | None, problems: Problems) -> dict[str, object]:
    """Returns the fields of an item by the model's attributes, without masked ones."""
    fields = dict(item.fields)
    for masked in SECRET_FIELDS if item.kind is Kind.VALUE else ():
        if fields.get(masked) == MASK:
            del fields[masked]
            if row is None:
                problems.add(
                    (*item.path, masked),
                    Text(
                        "is masked, and there is no such value in the database; write the real "
                        "{field}",
                        field=masked,
                    ),
                )
    name = _REQUIRED_FIELDS.get(item.kind)
    if name and row is None and name not in item.fields:
        problems.add_first((*item.path, name), Text(_REQUIRED[item.kind]))
    model_fields = exported_fields(item.kind)
    return {
        model_fields[name].attname: parse(model_fields[name], value)
        for name, value in fields.items()
    }


def check_new(item: Item, fields: Fields, problems: Problems) -> None:
    """Validates a row that would be created."""
    row = item.kind.model(key=item.key, **fields)
    for name, text in problems_of_new(row).items():
        if problems.exists_at((*item.path, name)):
            continue
        if name in item.fields:
            problems.add((*item.path, name), text)
        elif name in ("key", "__all__"):
            problems.add(item.path, text)
        else:
            problems.add(item.path, Text("{field}: {problem}", field=name, problem=text))


def check_changed(item: Item, row: Row, fields: Fields, problems: Problems) -> None:
    """Validates the fields of a row that would change."""
    for name, field in exported_fields(item.kind).items():
        if field.attname in fields and (
            text := problem_of(row, field.attname, fields[field.attname])
        ):
            problems.add((*item.path, name), text)
    for name, text in value_schema_problems_of(row, fields).items():
        if not problems.exists_at((*item.path, name)):
            problems.add((*item.path, name), text)
