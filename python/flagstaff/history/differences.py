"""What differs between two rows of the history, and between two JSON documents. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from flagstaff._text import is_same_json

#: Names of members, from the outside in.
Path: TypeAlias = "tuple[str, ...]"

# A name that needs no quotes in a path.
_PLAIN_NAME = re.compile(r"[^\W\d][\w-]*")
# Deeper parts are compared as a whole.
_MAX_DEPTH = 30


class LongJson(NamedTuple):
    """The start of a long JSON text, in the place of its value."""

    start: str
    length: int
    #: Of the whole text.
    digest: str


@dataclass(frozen=True)
class Difference:
    """A field that a change has set."""

    field: str
    old: Any
    new: Any
    #: True if the history does not store what it was. Then `old` and `new` are None.
    secret: bool = False


@dataclass(frozen=True)
class Users:
    """Users that a change added to the allowed users, or removed."""

    count: int = 0
    #: Their primary keys; of a long list only the first ones.
    pks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class JsonDifference:
    """A member of an object that was added, removed or replaced."""

    action: Literal["added", "removed", "changed"]
    path: Path
    #: None if it was added.
    old: Any
    #: None if it was removed.
    new: Any


def row_differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    names: Mapping[str, str],
    hidden: Collection[str] = (),
) -> Iterator[Difference]:
    """Yields the differences of two rows, in the order of the model, then other columns.

    `names` are the names of fields by column; one with an empty name is no change by itself.
    `hidden` are columns that were set and that the rows lack.
    """
    in_model_order = [column for column in names if column in {*old, *new, *hidden}]
    for column in dict.fromkeys([*in_model_order, *old, *new, *hidden]):
        name = names.get(column, column)
        is_in_both = column in old and column in new
        if column in hidden:
            yield Difference(name, None, None, secret=True)
        # As texts: in Python, True equals 1 and 1 equals 1.0.
        elif name and not (is_in_both and repr(old[column]) == repr(new[column])):
            yield Difference(name, old.get(column), new.get(column))


def json_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: Path = ()
) -> Iterator[JsonDifference]:
    """Yields the members in which two JSON objects differ, as deep as possible.

    An array is compared as a whole. Numbers and booleans differ: 1 is not true, and 1 is not 1.0.

    >>> [path_text(one.path) for one in json_differences({"a": {"b": 1}}, {"a": {"b": 2}, "c": 4})]
    ['a.b', 'c']
    """
    for name in dict.fromkeys([*old, *new]):
        place = (*path, name)
        before, after = old.get(name), new.get(name)
        if name not in new:
            yield JsonDifference("removed", place, before, None)
        elif name not in old:
            yield JsonDifference("added", place, None, after)
        elif isinstance(before, dict) and isinstance(after, dict) and len(place) < _MAX_DEPTH:
            yield from json_differences(before, after, place)
        elif not is_same_json(before, after):
            yield JsonDifference("changed", place, before, after)


def path_text(path: Path) -> str:
    """Returns a path as text, such as `hosts.name`. A name with other characters is quoted."""
    text = ""
    for name in path:
        if _PLAIN_NAME.fullmatch(name):
            text += f".{name}" if text else name
        else:
            text += f"[{json.dumps(name, ensure_ascii=False)}]"
    return text
