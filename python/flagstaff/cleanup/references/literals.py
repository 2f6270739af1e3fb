"""Strings and collections → their values."""

from __future__ import annotations

import ast

import libcst as cst

from flagstaff.cleanup.references.combining import elements, holed, union
from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import ANY, Items, Text, Values, glued

__all__ = ["items", "text"]


def text(node: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    """Returns what strings and their combinations may be."""
    match node:
        case cst.SimpleString():
            content = ast.literal_eval(node.value)
            return (Text(content),) if isinstance(content, str) else ANY
        case cst.ConcatenatedString() | cst.BinaryOperation(operator=cst.Add()):
            return glued(lookups.evaluate(node.left, scope), lookups.evaluate(node.right, scope))
        case cst.FormattedString():
            found: Values = (Text(""),)
            for part in node.parts:
                found = glued(found, _formatted_part(part, scope, lookups))
            return found
        case cst.BinaryOperation(operator=cst.Modulo()):
            return holed(lookups.evaluate(node.left, scope))
        case _:
            return ANY


def _formatted_part(part: cst.BaseFormattedStringContent, scope: Scope, lookups: Lookups) -> Values:
    if isinstance(part, cst.FormattedStringText):
        return (Text(part.value.replace("{{", "{").replace("}}", "}")),)
    if isinstance(part, cst.FormattedStringExpression) and part.format_spec is None:
        return lookups.evaluate(part.expression, scope)
    return ANY


def items(node: cst.List | cst.Tuple | cst.Set | cst.Dict, scope: Scope, lookups: Lookups) -> Items:
    """Returns the elements of a collection."""
    if isinstance(node, cst.Dict):
        pairs = [one for one in node.elements if isinstance(one, cst.DictElement)]
        # `{"x": "a", **others}`: the others may have the same keys.
        others = ANY if len(pairs) < len(node.elements) else ()
        return Items(
            tuple(union(lookups.evaluate(pair.value, scope), others) for pair in pairs),
            tuple(lookups.evaluate(pair.key, scope) for pair in pairs),
        )
    found: list[Values] = []
    for element in node.elements:
        values = lookups.evaluate(element.value, scope)
        found += elements(values) if isinstance(element, cst.StarredElement) else [values]
    return Items(tuple(found))
