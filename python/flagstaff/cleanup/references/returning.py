"""Calls → the values that they return."""

from __future__ import annotations

import libcst as cst

from flagstaff.cleanup.references.combining import holed, union
from flagstaff.cleanup.references.functions import RESULTS
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

__all__ = ["returned"]

_CONVERTERS = frozenset(
    {"str", "tuple", "list", "set", "frozenset", "sorted", "reversed", "iter", "dict"}
    | {"types.MappingProxyType", "builtins.str", "enum.unique"}
)


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
        if found := union(*(_method(owner, method) for owner in owners)):
            return found
    found = ()
    for function in lookups.evaluate(node.func, scope):
        found += _result(function, arguments, scope, lookups)
    return tuple(dict.fromkeys(found))


def _method(owner: Value, method: str) -> Values:  # noqa: PLR0911
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
        case Items() if method == "get" and owner.keys is not None:
            return union(*owner.values)
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
                return lookups.evaluate(arguments[0], scope)
            if name == "functools.partial" and arguments:
                return lookups.evaluate(arguments[0], scope)
        case Bound() if function.scope.kind == "class":
            return (Bound(function.scope, is_instance=True),)
        case _:
            pass
    return ANY


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
