"""The columns and groups of users that rules and units read, to evaluate for all users."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flagstaff._engine.attributes import column_attributes
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.model_fields import find_field
from flagstaff._tables.names import user_field
from flagstaff._words.json_text import read_json
from flagstaff._words.rule_parts import conditions_of, named_segments, objects_in
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

_NOT_COUNTED = "results of functions and context cannot be counted"
_PERMISSIONS = ("is_staff", "is_superuser")
_GROUPS = "groups"
# True for every row, and a list that is read apart.
_WITHOUT_COLUMN = ("is_authenticated", _GROUPS)


def segments_of_rules(rules: str | None) -> set[str]:
    """Returns the keys of the segments that rules name, given as a JSON text."""
    return {key for key, _place in named_segments(_read(rules))}


def columns_of_rules(key: str, rules: str | None, segments: Mapping[str, str]) -> dict[str, str]:
    """Returns what the rules of a flag read: attributes of the user model by their name in rules.

    `rules` and `segments` are JSON texts. Raises FlagstaffError if a rule reads something else: the
    function and the context are not known for all users.
    """
    columns = {**_permission_columns(), **column_attributes()}
    needed: dict[str, str] = {}
    for place, name in _attributes(rules, segments):
        if name in columns:
            needed[name] = columns[name]
        elif not _is_the_same_for_all(name):
            raise FlagstaffError(
                f"the users cannot be counted: {place} of flag {_quoted(key)} reads "
                f"{_quoted(name)}, which is neither built in nor a column in ATTRIBUTES; "
                + _NOT_COUNTED
            )
    return needed


def groups_of_rules(rules: str | None, segments: Mapping[str, str]) -> set[str] | None:
    """Returns the names of the groups that the rules of a flag name, given as JSON texts.

    Returns None if the rules depend on all groups.
    """
    names: set[str] = set()
    for _, condition in _conditions(rules, segments):
        if condition.get("attribute") != _GROUPS:
            continue
        values = condition.get("values")
        if condition.get("operator") != "in" or not isinstance(values, list):
            return None
        if not all(isinstance(value, str) for value in values):  # 42 equals the name "42"
            return None
        names.update(values)
    return names


def column_of_unit(key: str, unit: str) -> dict[str, str]:
    """Returns the attribute of the user model that a flag buckets by, by its name.

    Raises FlagstaffError if it is no column: visitors and values of a context are not in the
    database.
    """
    attribute = None if unit == VISITOR else column_attributes().get(unit)
    if attribute is not None:
        return {unit: attribute}
    why = f"{_quoted(unit)}, which is not a column in ATTRIBUTES; " + _NOT_COUNTED
    if unit == VISITOR:
        why = "visitor, and visitors are not in the database"
    raise FlagstaffError(f"the users cannot be counted: flag {_quoted(key)} is bucketed by {why}")


def _permission_columns() -> dict[str, str]:
    model = user_field(conf.flag_model).model
    fields = {name: find_field(model, name) for name in _PERMISSIONS}
    return {name: field.attname for name, field in fields.items() if field and field.concrete}


def _is_the_same_for_all(name: str) -> bool:
    """Returns True for a built-in attribute that needs no column, or that no user has."""
    if name in _PERMISSIONS:
        return not hasattr(user_field(conf.flag_model).model, name)
    return name in _WITHOUT_COLUMN


def _attributes(rules: str | None, segments: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields the attributes that rules and their segments read, each with its place."""
    for place, condition in _conditions(rules, segments):
        if "attribute" in condition:
            yield place, str(condition["attribute"])


def _conditions(
    rules: str | None, segments: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the conditions of rules and of their segments, each with its place."""
    for place, condition in conditions_of(_read(rules)):
        named = condition.get("segment")
        if isinstance(named, str):
            for inner in objects_in(_read(segments.get(named))):
                yield f"segment {_quoted(named)} in {place}", inner
        else:
            yield place, condition


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _read(text: str | None) -> object:
    """Returns the JSON value; None for a text that is not JSON, which evaluations report."""
    try:
        return None if text is None else read_json(text)
    except ValueError:
        return None
