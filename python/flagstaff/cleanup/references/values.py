"""The values that an expression may have, and how they are combined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from flagstaff.cleanup.references.scopes import FunctionScope, Scope

#: An expression with more possible values is unknown.
MAX_VALUES = 100


@dataclass(frozen=True)
class Text:
    """A constant text."""

    text: str


@dataclass(frozen=True)
class Pattern:
    """A text that is built at run time: its constant parts, and "*" for the others."""

    pattern: str


@dataclass(frozen=True)
class Name:
    """Something outside of the searched files, by its dotted name."""

    name: str


@dataclass(frozen=True)
class Object:
    """An object of flagstaff, by its type in `functions`."""

    type: str


@dataclass(frozen=True, eq=False)
class Items:
    """The elements of a constant list, tuple, set or dict, and the keys of a dict."""

    values: tuple[Values, ...]
    keys: tuple[Values, ...] | None = None
    is_mutable: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function."""

    function: FunctionScope
    name: str


@dataclass(frozen=True)
class Bound:
    """A module, a class or a function of the searched files, or an instance of the class."""

    scope: Scope
    is_instance: bool = False


Value: TypeAlias = Text | Pattern | Name | Object | Items | Parameter | Bound
#: All possible values of an expression.
Values: TypeAlias = tuple[Value, ...]

ANY: Values = (Pattern("*"),)


def class_of(value: Value) -> Scope | None:
    """Returns the class that a value is, or is an instance of; None if it is neither."""
    return value.scope if isinstance(value, Bound) and value.scope.kind == "class" else None


def concatenated(left: Values, right: Values) -> Values:
    """Returns the texts that begin with one of `left` and end with one of `right`."""
    found = dict.fromkeys(_glue(one, other) for one in left for other in right)
    return tuple(found) if len(found) <= MAX_VALUES else ANY


def _glue(left: Value, right: Value) -> Value:
    if isinstance(left, Text) and isinstance(right, Text):
        return Text(left.text + right.text)
    text = f"{_as_pattern(left)}{_as_pattern(right)}"
    while "**" in text:
        text = text.replace("**", "*")
    return Pattern(text)


def _as_pattern(value: Value) -> str:
    if isinstance(value, Text):
        return value.text
    return value.pattern if isinstance(value, Pattern) else "*"


_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0 +]*\d*(?:\.\d+)?[sdr]|\{[^{}]*\}")


def union(*parts: Values) -> Values:
    """Returns the values of all parts, each once."""
    return tuple(dict.fromkeys(value for part in parts for value in part))


def elements(values: Values) -> list[Values]:
    """Returns the values of each element of a collection."""
    found: list[Values] = []
    for value in values:
        if isinstance(value, Items):
            found += value.values if value.keys is None else value.keys
        else:
            found.append(ANY)
    return found


def at(values: Values, index: int) -> Values:
    """Returns the values at a place of the collections."""
    found: Values = ()
    for value in values:
        if isinstance(value, Items) and value.keys is None and index < len(value.values):
            found += value.values[index]
        else:
            found += ANY
    return tuple(dict.fromkeys(found))


def with_placeholder(values: Values) -> Values:
    """Returns templates of `%` or `format` as patterns."""
    found: list[Value] = []
    for value in values:
        if isinstance(value, Text | Pattern):
            text = value.text if isinstance(value, Text) else value.pattern
            found.append(Pattern(_PLACEHOLDER.sub("*", text)))
        else:
            found.append(Pattern("*"))
    return tuple(dict.fromkeys(found))
