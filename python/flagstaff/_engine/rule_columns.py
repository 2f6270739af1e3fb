"""The columns and groups of users that rules and units read, to evaluate for all users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flagstaff._engine.attributes import column_attributes
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.model_fields import find_field
from flagstaff._tables.names import user_field
from flagstaff._words.json_text import read_json
from flagstaff._words.rule_parts import conditions_of, named_segments, objects_in
from flagstaff.conf import conf

_PERMISSIONS = ("is_staff", "is_superuser")
_GROUPS = "groups"
# True for every row, and a list that is read apart.
_WITHOUT_COLUMN = ("is_authenticated", _GROUPS)


def segments_of_rules(rules: str | None) -> set[str]:
    """Returns the keys of the segments that rules name, given as a JSON text."""
    return {key for key, _place in named_segments(read_rules(rules))}


def columns_of_rules(rules: str | None, segments: Mapping[str, str]) -> dict[str, str]:
    """Returns what rules read: attributes of the user model by their name in rules.

    `rules` and `segments` are JSON texts. Leaves out what only a call knows, see
    `unknown_attributes`.
    """
    columns = _known_columns()
    return {
        name: columns[name] for name in _attributes(read_rules(rules), segments) if name in columns
    }


def unknown_attributes(rules: object, segments: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Returns for each rule the attributes that are not known for all users, in order.

    They come from the context of a call, from a visitor's cookie, or from the function in
    ATTRIBUTES. `segments` are JSON texts by key.
    """
    columns = _known_columns()
    return [
        tuple(
            name
            for name in dict.fromkeys(_attributes([rule], segments))
            if name not in columns and not _is_the_same_for_all(name)
        )
        for rule in objects_in(rules)
    ]


def groups_of_rules(rules: str | None, segments: Mapping[str, str]) -> set[str] | None:
    """Returns the names of the groups that the rules of a flag name, given as JSON texts.

    Returns None if the rules depend on all groups.
    """
    names: set[str] = set()
    for condition in _conditions(read_rules(rules), segments):
        if condition.get("attribute") != _GROUPS:
            continue
        values = condition.get("values")
        if condition.get("operator") != "in" or not isinstance(values, list):
            return None
        if not all(isinstance(value, str) for value in values):  # 42 equals the name "42"
            return None
        names.update(values)
    return names


def column_of_unit(unit: str) -> dict[str, str]:
    """Returns the attribute of the user model that a flag buckets by, by its name.

    Returns {} if it is no column: visitors and values of a context are not in the database.
    """
    attribute = None if unit == VISITOR else column_attributes().get(unit)
    return {} if attribute is None else {unit: attribute}


def _known_columns() -> dict[str, str]:
    return {**_permission_columns(), **column_attributes()}


def _permission_columns() -> dict[str, str]:
    model = user_field(conf.flag_model).model
    fields = {name: find_field(model, name) for name in _PERMISSIONS}
    return {name: field.attname for name, field in fields.items() if field and field.concrete}


def _is_the_same_for_all(name: str) -> bool:
    """Returns True for a built-in attribute that needs no column, or that no user has."""
    if name in _PERMISSIONS:
        return not hasattr(user_field(conf.flag_model).model, name)
    return name in _WITHOUT_COLUMN


def _attributes(rules: object, segments: Mapping[str, str]) -> Iterator[str]:
    """Yields the attributes that rules and their segments read."""
    for condition in _conditions(rules, segments):
        if "attribute" in condition:
            yield str(condition["attribute"])


def _conditions(rules: object, segments: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yields the conditions of rules and of their segments."""
    for _place, condition in conditions_of(rules):
        named = condition.get("segment")
        if isinstance(named, str):
            yield from objects_in(read_rules(segments.get(named)))
        else:
            yield condition


def read_rules(text: str | None) -> object:
    """Returns rules from a JSON text; None if it is not JSON, which evaluations report."""
    try:
        return None if text is None else read_json(text)
    except ValueError:
        return None
