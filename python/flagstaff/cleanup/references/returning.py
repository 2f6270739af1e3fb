"""Calls → the values that they return."""

from __future__ import annotations

from dataclasses import replace

import libcst as cst

from flagstaff.cleanup.references.accessing import item
from flagstaff.cleanup.references.combining import holed, union
from flagstaff.cleanup.references.functions import RESULTS
from flagstaff.cleanup.references.literals import is_member
from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.naming import is_request, model_of
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import (
    ANY,
    Bound,
    Items,
    Name,
    Object,
    Pattern,
    Text,
    Value,
    Values,
)

_CONVERTERS = frozenset(
    {"str", "tuple", "list", "set", "frozenset", "sorted", "reversed", "iter", "dict"}
    | {"types.MappingProxyType", "builtins.str", "enum.unique"}
)
_TEXTS = ("str", "builtins.str")
# Their elements are in another order.
_UNORDERED = ("set", "frozenset", "sorted", "reversed")
_MUTABLE = ("list", "set", "dict", "sorted")


def returned(node: cst.Call, scope: Scope, lookups: Lookups) -> Values:
    """Returns what a call may return."""
    arguments = [arg.value for arg in node.args if not arg.star]
    if isinstance(node.func, cst.Attribute):
        method = node.func.attr.value
        if method == "get_model" and (model := _model(arguments, scope, lookups)):
            return model
        if method == "get" and arguments and is_request(arguments[0]):
            # `context.get("request")`.
            return (Object("request"),)
        owners = lookups.evaluate(node.func.value, scope)
        of_owners = (_method(owner, method, arguments, scope, lookups) for owner in owners)
        if found := union(*of_owners):
            return found
    # `dict(KEYS, x="a")`
    is_plain = len(arguments) == len(node.args) and all(arg.keyword is None for arg in node.args)
    found = ()
    for function in lookups.evaluate(node.func, scope):
        is_dict = function == Name("dict")
        is_known = is_plain and len(arguments) == 1 if is_dict else True
        found += _result(function, arguments, scope, lookups) if is_known else ANY
    return tuple(dict.fromkeys(found))


def _method(  # noqa: PLR0911
    owner: Value,
    method: str,
    arguments: list[cst.BaseExpression],
    scope: Scope,
    lookups: Lookups,
) -> Values:
    match owner:
        case Object():
            result = RESULTS.get((owner.type, method))
            if result is None and owner.type.startswith("query:"):
                result = owner.type
            return (Object(result),) if result else ()
        case Items() if method == "values":
            return (Items(owner.values),)
        case Items() if method == "keys" and owner.keys is not None:
            return (Items(owner.keys),)
        case Items() if method == "items" and owner.keys is not None:
            pairs = zip(owner.keys, owner.values, strict=True)
            return (Items(tuple((Items(pair),) for pair in pairs)),)
        case Items() if method == "get" and owner.keys is not None and arguments:
            return _got(owner, arguments, scope, lookups)
        case Text() | Pattern() if method == "format":
            return holed((owner,))
        case _:
            return ()


def _result(
    function: Value, arguments: list[cst.BaseExpression], scope: Scope, lookups: Lookups
) -> Values:
    match function:
        case Name(name=name):
            if name in RESULTS:
                return (Object(RESULTS[name]),)
            if model := model_of(name):
                return (Object(f"query:{model}"),)
            if name in _CONVERTERS and arguments:
                return _converted(name, arguments[0], scope, lookups)
            if name == "functools.partial" and arguments:
                return lookups.evaluate(arguments[0], scope)
        case Bound() if function.scope.kind == "class":
            return (Bound(function.scope, is_instance=True),)
        case _:
            pass
    return ANY


def _got(
    items: Items, arguments: list[cst.BaseExpression], scope: Scope, lookups: Lookups
) -> Values:
    """Returns what `KEYS.get(key, default)` may return."""
    if not lookups.is_strict:
        defaults = (lookups.evaluate(one, scope) for one in arguments[1:])
        return union(*items.values, *defaults)
    return item(items, arguments[0], scope, lookups)


def _converted(name: str, node: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    """Returns what `list(…)` and the like may return."""
    values = lookups.evaluate(node, scope)
    if name in _TEXTS:
        is_unknown = lookups.is_strict and is_member(node, scope, lookups)
        return ANY if is_unknown or any(isinstance(one, Items) for one in values) else values
    return tuple(_collection(name, one) if isinstance(one, Items) else one for one in values)


def _collection(name: str, items: Items) -> Value:
    is_mutable = name in _MUTABLE
    if name in ("dict", "types.MappingProxyType"):
        return replace(items, is_mutable=is_mutable) if items.keys is not None else ANY[0]
    values = items.values if items.keys is None else items.keys
    each = (union(*values),) * len(values) if name in _UNORDERED else values
    return Items(each, is_mutable=is_mutable)


def _model(arguments: list[cst.BaseExpression], scope: Scope, lookups: Lookups) -> Values:
    texts = [
        value.text
        for node in arguments[:2]
        for value in lookups.evaluate(node, scope)
        if isinstance(value, Text)
    ]
    label = ".".join(texts)
    app, _, model = label.partition(".")
    return (Name(f"flagstaff.models.{model}"),) if app == "flagstaff" else ()
