"""Literals, attributes, subscripts and calls → their values."""

from __future__ import annotations

import ast
from dataclasses import replace

import libcst as cst

from flagstaff.cleanup.references.functions import RESULTS
from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.naming import is_request, model_of
from flagstaff.cleanup.references.scopes import Assigned, Scope, find
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
    class_of,
    concatenated,
    elements,
    union,
    with_placeholder,
)


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


def text(node: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    """Returns what strings and their combinations may be."""
    match node:
        case cst.SimpleString():
            return _literal(node.value)
        case cst.ConcatenatedString() | cst.BinaryOperation(operator=cst.Add()):
            return concatenated(
                lookups.evaluate(node.left, scope), lookups.evaluate(node.right, scope)
            )
        case cst.FormattedString():
            found: Values = (Text(""),)
            for part in node.parts:
                found = concatenated(found, _formatted_part(part, node, scope, lookups))
            return found
        case cst.BinaryOperation(operator=cst.Modulo()):
            return with_placeholder(lookups.evaluate(node.left, scope))
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
    return any(owner is not None and lookups.is_enumeration(owner) for owner in owners)


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
            return with_placeholder((owner,))
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
        defaults = (lookups.evaluate(argument, scope) for argument in arguments[1:])
        return union(*items.values, *defaults)
    return item(items, arguments[0], scope, lookups)


def _converted(name: str, node: cst.BaseExpression, scope: Scope, lookups: Lookups) -> Values:
    """Returns what `list(…)` and the like may return."""
    values = lookups.evaluate(node, scope)
    if name in _TEXTS:
        is_unknown = lookups.is_strict and is_member(node, scope, lookups)
        return ANY if is_unknown or any(isinstance(value, Items) for value in values) else values
    return tuple(
        _collection(name, value) if isinstance(value, Items) else value for value in values
    )


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
