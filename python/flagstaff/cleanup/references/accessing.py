"""Attributes and subscripts → their values."""

from __future__ import annotations

import libcst as cst

from flagstaff.cleanup.references.combining import union
from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.naming import is_request
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import ANY, Bound, Items, Name, Object, Text, Value, Values

__all__ = ["attribute", "subscript", "subscript_index"]


def attribute(node: cst.Attribute, scope: Scope, lookups: Lookups) -> Values:
    """Returns what `x.name` may be."""
    name = node.attr.value
    found = (_attribute_of(value, name, lookups) for value in lookups.evaluate(node.value, scope))
    return union(*found)


def _attribute_of(value: Value, name: str, lookups: Lookups) -> Values:  # noqa: PLR0911
    match value:
        case Name():
            if name == "request":
                return (Object("request"),)
            return lookups.imported(f"{value.name}.{name}")
        case Bound():
            return _member_of(value, name, lookups)
        case Object(type="request"):
            return (
                (Object("request_flags"),)
                if name == "flags"
                else ((Object("request"),) if name in ("_request", "request") else ANY)
            )
        case Object(type="request_flags") if name == "snapshot":
            return (Object("snapshot"),)
        case Text() if name == "value":
            return (value,)
        case Items() if name == "value" and value.keys is None:
            return value.values[0] if value.values else ANY
        case _:
            return (Object("request"),) if name == "request" else ANY


def _member_of(value: Bound, name: str, lookups: Lookups) -> Values:
    if found := lookups.member(value.scope, name):
        return found
    if value.scope.kind == "module":
        return lookups.imported(f"{value.scope.module}.{name}")
    return (Object("request"),) if name == "request" else ANY


def subscript(node: cst.Subscript, scope: Scope, lookups: Lookups) -> Values:
    """Returns what `x[index]` may be."""
    index = subscript_index(node)
    if index is None:
        return ANY
    found: Values = ()
    for value in lookups.evaluate(node.value, scope):
        if isinstance(value, Items):
            found += _item(value, index, scope, lookups)
        elif isinstance(value, Bound) and value.scope.kind == "class":
            # `Flags["NEW"]`, a member of an enumeration.
            for name in lookups.evaluate(index, scope):
                found += lookups.member(value.scope, name.text) if isinstance(name, Text) else ANY
        else:
            # `context["request"]`.
            found += (Object("request"),) if is_request(index) else ANY
    return tuple(dict.fromkeys(found))


def _item(items: Items, index: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    if items.keys is None and isinstance(index, cst.Integer):
        place = index.evaluated_value
        return items.values[place] if place < len(items.values) else ANY
    wanted = lookups.evaluate(index, scope)
    if items.keys is not None and all(isinstance(one, Text | Name) for one in wanted):
        pairs = zip(items.keys, items.values, strict=True)
        exact = [values for key, values in pairs if set(key) & set(wanted)]
        if exact:
            return union(*exact)
    return union(*items.values)


def subscript_index(node: cst.Subscript) -> cst.BaseExpression | None:
    """Returns the index of `x[index]`; None for a slice or several indexes."""
    if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        return node.slice[0].slice.value
    return None
