"""Strings and collections → their values."""

from __future__ import annotations

import ast

import libcst as cst

from flagstaff.cleanup.references.combining import elements, holed, union
from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.scopes import Assigned, Scope, find
from flagstaff.cleanup.references.values import ANY, Items, Text, Values, class_of, glued


def text(node: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    """Returns what strings and their combinations may be."""
    match node:
        case cst.SimpleString():
            return _literal(node.value)
        case cst.ConcatenatedString() | cst.BinaryOperation(operator=cst.Add()):
            return glued(lookups.evaluate(node.left, scope), lookups.evaluate(node.right, scope))
        case cst.FormattedString():
            found: Values = (Text(""),)
            for part in node.parts:
                found = glued(found, _formatted_part(part, node, scope, lookups))
            return found
        case cst.BinaryOperation(operator=cst.Modulo()):
            return holed(lookups.evaluate(node.left, scope))
        case _:
            return ANY


def _literal(code: str) -> Values:
    try:
        content = ast.literal_eval(code)
    except (SyntaxError, ValueError):
        # A string that another version of Python may know.
        return ANY
    return (Text(content),) if isinstance(content, str) else ANY


def _formatted_part(
    part: cst.BaseFormattedStringContent,
    node: cst.FormattedString,
    scope: Scope,
    lookups: Lookups,
) -> Values:
    if isinstance(part, cst.FormattedStringText):
        plain = part.value.replace("{{", "{").replace("}}", "}")
        prefix = node.prefix.lower().replace("f", "")
        is_plain = "\\" not in plain
        return (Text(plain),) if is_plain else _literal(f"{prefix}{node.quote}{plain}{node.quote}")
    if not isinstance(part, cst.FormattedStringExpression):
        return ANY
    is_plain = part.format_spec is None and part.conversion is None and part.equal is None
    if not is_plain or (lookups.is_strict and is_member(part.expression, scope, lookups)):
        return ANY
    return lookups.evaluate(part.expression, scope)


def is_member(node: cst.BaseExpression, scope: Scope, lookups: Lookups) -> bool:
    """Returns True for `Keys.NEW`: as a text, a member of an enumeration may be its name.

    Also for a name that is bound to one, or to each one.
    """
    if isinstance(node, cst.Name):
        found = find(node.value, scope)
        bound = [one for one in found[1] if isinstance(one, Assigned)] if found is not None else []
        # A name that is bound to other names is followed no further.
        return any(
            one.is_element
            or isinstance(one.node, cst.Name | cst.Call)
            or is_member(one.node, one.scope, lookups)
            for one in bound
        )
    if not isinstance(node, cst.Attribute | cst.Subscript):
        return False
    owners = map(class_of, lookups.evaluate(node.value, scope))
    return any(one is not None and lookups.is_enumeration(one) for one in owners)


def items(node: cst.List | cst.Tuple | cst.Set | cst.Dict, scope: Scope, lookups: Lookups) -> Items:
    """Returns the elements of a collection."""
    if isinstance(node, cst.Dict):
        pairs = [one for one in node.elements if isinstance(one, cst.DictElement)]
        # `{"x": "a", **others}`: the others may have the same keys.
        others = ANY if len(pairs) < len(node.elements) else ()
        return Items(
            tuple(union(lookups.evaluate(pair.value, scope), others) for pair in pairs),
            tuple(lookups.evaluate(pair.key, scope) for pair in pairs),
            is_mutable=True,
        )
    found: list[Values] = []
    for element in node.elements:
        values = lookups.evaluate(element.value, scope)
        found += elements(values) if isinstance(element, cst.StarredElement) else [values]
    # The elements of a set have no order.
    each = [union(*found)] * len(found) if isinstance(node, cst.Set) else found
    return Items(tuple(each), is_mutable=not isinstance(node, cst.Tuple))
