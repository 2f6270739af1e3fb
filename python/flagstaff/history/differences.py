"""What differs between two rows of the history, and between two JSON documents. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, NamedTuple, TypeAlias

#: Names of members and indices of elements, from the outside in.
Path: TypeAlias = "tuple[str | int, ...]"

# Where a part is in the old and in the new document.
_Places: TypeAlias = "tuple[Path, Path]"

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
    """A part of a document that was added, removed or replaced."""

    action: Literal["added", "removed", "changed"]
    #: Where the part is in the new document; of a removed part, where it was in the old one.
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
        both = column in old and column in new
        if column in hidden:
            yield Difference(name, None, None, secret=True)
        # As texts: in Python, True equals 1 and 1 equals 1.0.
        elif name and not (both and repr(old[column]) == repr(new[column])):
            yield Difference(name, old.get(column), new.get(column))


def json_differences(old: object, new: object) -> Iterator[JsonDifference]:
    """Yields the differences of two JSON documents, as small as possible.

    Equal elements at the start and at the end of lists are left out, so that one in the middle can
    be added or removed. Numbers and booleans differ: 1 is not true, and 1 is not 1.0.

    >>> [path_text(one.path) for one in json_differences({"a": [1, 2]}, {"a": [1, 3], "b": 4})]
    ['a[1]', 'b']
    """
    return _differences(old, new, ((), ()), 0)


def path_text(path: Path) -> str:
    """Returns a path as text, such as `hosts[2].name`. A name with other characters is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def _differences(old: object, new: object, places: _Places, depth: int) -> Iterator[JsonDifference]:
    """Yields the differences of two parts, which are at these places."""
    if depth < _MAX_DEPTH and isinstance(old, dict) and isinstance(new, dict):
        yield from _of_objects(old, new, places, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(old, list) and isinstance(new, list):
        yield from _of_lists(old, new, places, depth + 1)
    elif _canonical(old) != _canonical(new):
        yield JsonDifference("changed", places[1], old, new)


def _of_objects(
    old: Mapping[str, Any], new: Mapping[str, Any], places: _Places, depth: int
) -> Iterator[JsonDifference]:
    before, after = places
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield JsonDifference("removed", (*before, name), old[name], None)
        elif name not in old:
            yield JsonDifference("added", (*after, name), None, new[name])
        else:
            inner = (*before, name), (*after, name)
            yield from _differences(old[name], new[name], inner, depth)


def _of_lists(
    old: list[Any], new: list[Any], places: _Places, depth: int
) -> Iterator[JsonDifference]:
    before, after = places
    texts, other_texts = list(map(_canonical, old)), list(map(_canonical, new))
    start = _equal_at_start(texts, other_texts)
    end = _equal_at_start(texts[start:][::-1], other_texts[start:][::-1])
    removed, added = range(start, len(old) - end), range(start, len(new) - end)
    for index, other in zip_longest(removed, added):
        if index is None:
            yield JsonDifference("added", (*after, other), None, new[other])
        elif other is None:
            yield JsonDifference("removed", (*before, index), old[index], None)
        else:
            inner = (*before, index), (*after, other)
            yield from _differences(old[index], new[other], inner, depth)


def _equal_at_start(old: list[str], new: list[str]) -> int:
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))


def _canonical(value: object) -> str:
    """Returns the same text for the same JSON, whatever the order of its members."""
    return json.dumps(value, sort_keys=True, default=str)
