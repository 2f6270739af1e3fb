"""Attributes and subscripts → their values."""

from __future__ import annotations

import libcst as cst

from flagstaff.cleanup.references.combining import union
from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.naming import is_request
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import ANY, Bound, Items, Name, Object, Text, Value, Values


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
        return found if lookups.is_constant(value, name) else ANY
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
            found += item(value, index, scope, lookups)
        elif isinstance(value, Bound) and value.scope.kind == "class":
            found += _member_named(value, index, scope, lookups)
        else:
            # `context["request"]`.
            found += (Object("request"),) if is_request(index) else ANY
    return tuple(dict.fromkeys(found))


def _member_named(
    value: Bound, index: cst.BaseExpression, scope: Scope, lookups: Lookups
) -> Values:
    """Returns `Flags["NEW"]`, a member of an enumeration."""
    if lookups.is_strict and not lookups.is_enumeration(value.scope):
        return ANY
    found: Values = ()
    for name in lookups.evaluate(index, scope):
        found += _member_of(value, name.text, lookups) if isinstance(name, Text) else ANY
    return found


def item(items: Items, index: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    """Returns what the element at an index or a key may be, unknown if a strict lookup may fail."""
    others = ANY if lookups.is_strict else ()
    if items.keys is None:
        if isinstance(index, cst.Integer):
            place = index.evaluated_value
            return items.values[place] if place < len(items.values) else ANY
        return union(*items.values, others)
    wanted = lookups.evaluate(index, scope)
    if lookups.is_strict and not _are_known(wanted, items.keys):
        return ANY
    if all(isinstance(one, Text | Name) for one in wanted):
        pairs = zip(items.keys, items.values, strict=True)
        exact = [values for key, values in pairs if set(key) & set(wanted)]
        if exact:
            return union(*exact)
    return union(*items.values, others)


def _are_known(wanted: Values, keys: tuple[Values, ...]) -> bool:
    """Whether each of the wanted keys is one of these, and nothing else is."""
    known = {key[0] for key in keys if len(key) == 1 and isinstance(key[0], Text)}
    return set(wanted) <= known and all(set(key) <= known for key in keys)


def subscript_index(node: cst.Subscript) -> cst.BaseExpression | None:
    """Returns the index of `x[index]`; None for a slice or several indexes."""
    if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        return node.slice[0].slice.value
    return None
