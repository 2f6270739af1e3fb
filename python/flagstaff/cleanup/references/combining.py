"""Values of several expressions, of elements, and of templates of texts."""

from __future__ import annotations

import re

from flagstaff.cleanup.references.values import ANY, Items, Pattern, Text, Value, Values

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


def holed(values: Values) -> Values:
    """Returns templates of `%` or `format` as patterns."""
    found: list[Value] = []
    for value in values:
        if isinstance(value, Text | Pattern):
            text = value.text if isinstance(value, Text) else value.pattern
            found.append(Pattern(_PLACEHOLDER.sub("*", text)))
        else:
            found.append(Pattern("*"))
    return tuple(dict.fromkeys(found))
