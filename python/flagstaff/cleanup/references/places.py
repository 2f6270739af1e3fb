"""The places of a module that take a key: calls, commands, subscripts, attributes of views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import libcst as cst

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.expressions import subscript_index
from flagstaff.cleanup.references.functions import (
    BY_METHOD,
    MODELS,
    Function,
)
from flagstaff.cleanup.references.model import About, Kind
from flagstaff.cleanup.references.naming import last_name, model_of
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.scopes import Assigned, FunctionScope, Scope
from flagstaff.cleanup.references.values import (
    Bound,
    Items,
    Name,
    Object,
    Text,
    Value,
    Values,
    class_of,
)

# What they return is no bool.
_NO_BOOLS = (Name("flagstaff.explain"), Name("flagstaff.resolve_flag"))

#: A function by its file and its name in it.
WrapperId = tuple[str, str]
#: Functions of the project that pass on a parameter as a key.
Wrappers = Mapping[WrapperId, tuple[Function, ...]]


@dataclass(frozen=True, eq=False)
class Place:
    """A node that takes a key, and the expression of the key."""

    node: cst.CSTNode
    key: cst.BaseExpression
    scope: Scope
    kind: Kind
    about: About
    name: str
    #: The key is an argument of a function of the project, or of `partial`.
    is_indirect: bool = False
    #: What else may have the key.
    or_about: About | None = None
    #: The function or the mixin that takes the key.
    function: Function | None = None

    @property
    def source(self) -> str:
        """What the key is the name of in another library; empty for our keys."""
        return self.function.source if self.function is not None else ""


def wrapper_id(scope: Scope) -> WrapperId:
    """Returns the identity of a function, in any process."""
    return scope.root.path, scope.name


def places_of(
    module: Module,
    evaluator: ExpressionEvaluator,
    wrappers: Wrappers,
    *,
    only_wrappers: bool = False,
) -> Iterator[Place]:
    """Yields the places of a module. With `only_wrappers`, only the calls of wrappers."""
    for call, scope in module.found.calls:
        yield from _of_call(call, scope, evaluator, wrappers, only_wrappers=only_wrappers)
    if only_wrappers:
        return
    for subscript, scope in module.found.subscripts:
        yield from _of_subscript(subscript, scope, evaluator)
    for node, scope in module.found.classes:
        yield from _of_class(node, scope, evaluator)


def _of_call(
    node: cst.Call,
    scope: Scope,
    evaluator: ExpressionEvaluator,
    wrappers: Wrappers,
    *,
    only_wrappers: bool,
) -> Iterator[Place]:
    called = called_function(node, scope, evaluator)
    if not only_wrappers:
        yield from _of_as_view(node, scope, evaluator)
        yield from _of_method(node, scope, evaluator)
        for key in command_keys(node, scope, evaluator):
            yield Place(node, key, scope, Kind.CHANGE, About.FLAG, called.name)
    for value in called.functions:
        is_passed = called.is_passed or value in _NO_BOOLS or isinstance(value, Bound)
        for function in _known(value, evaluator, wrappers, only_wrappers=only_wrappers):
            for key in _key_arguments(called.args, function):
                yield Place(
                    node,
                    key,
                    scope,
                    function.kind,
                    function.about,
                    called.name,
                    # A patch has no rules for other libraries.
                    is_passed or bool(function.source),
                    function.or_about,
                    function,
                )


def _known(
    value: Value, evaluator: ExpressionEvaluator, wrappers: Wrappers, *, only_wrappers: bool
) -> Iterator[Function]:
    if isinstance(value, Bound):
        function = _called(value, evaluator)
        if function is not None:
            yield from wrappers.get(wrapper_id(function), ())
    elif isinstance(value, Name) and not only_wrappers:
        if value.name in evaluator.vocabulary.functions:
            yield evaluator.vocabulary.functions[value.name]
        elif (model := model_of(value.name)) is not None:
            yield Function(Kind.QUERY, MODELS[model], position=None)


def _called(value: Bound, evaluator: ExpressionEvaluator) -> FunctionScope | None:
    scope = value.scope
    if scope.kind == "class":
        method = "__call__" if value.is_instance else "__init__"
        found = (one.scope for one in evaluator.member(scope, method) if isinstance(one, Bound))
        return next((one for one in found if isinstance(one, FunctionScope)), None)
    return scope if isinstance(scope, FunctionScope) else None


def _of_method(node: cst.Call, scope: Scope, evaluator: ExpressionEvaluator) -> Iterator[Place]:
    if not isinstance(node.func, cst.Attribute):
        return
    method = node.func.attr.value
    if (function := evaluator.vocabulary.methods.get(method)) is not None:
        for key in _key_arguments(list(node.args), function):
            # The client may have another provider, so nothing rewrites the call.
            yield Place(
                node,
                key,
                scope,
                function.kind,
                function.about,
                method,
                is_indirect=True,
                or_about=function.or_about,
            )
        return
    if method not in _METHODS and not any(_is_key(arg) for arg in node.args):
        return
    for owner in evaluator.evaluate(node.func.value, scope):
        if not isinstance(owner, Object):
            continue
        function = BY_METHOD.get((owner.type, method))
        if function is None and owner.type.startswith("query:"):
            model = owner.type.removeprefix("query:")
            function = Function(Kind.QUERY, MODELS[model], position=None)
        if function is not None:
            for key in _key_arguments(list(node.args), function):
                name = f"{_OWNERS.get(owner.type, '')}{method}"
                is_indirect = method in ("explain", "depends_on_user", "resolve_flag")
                yield Place(node, key, scope, function.kind, function.about, name, is_indirect)


_METHODS = frozenset(method for _, method in BY_METHOD)
_OWNERS = {"request_flags": "flags.", "fixture": "flags."}


def _of_as_view(node: cst.Call, scope: Scope, evaluator: ExpressionEvaluator) -> Iterator[Place]:
    if not isinstance(node.func, cst.Attribute) or node.func.attr.value != "as_view":
        return
    for attribute, function in evaluator.vocabulary.mixins.values():
        for arg in node.args:
            if arg.keyword is not None and arg.keyword.value == attribute:
                yield _of_mixin(node, arg.value, scope, attribute, function)


def _of_mixin(
    node: cst.CSTNode, key: cst.BaseExpression, scope: Scope, attribute: str, function: Function
) -> Place:
    is_indirect = bool(function.source)
    kind, about = function.kind, function.about
    return Place(node, key, scope, kind, about, attribute, is_indirect, function=function)


def _of_subscript(
    node: cst.Subscript, scope: Scope, evaluator: ExpressionEvaluator
) -> Iterator[Place]:
    index = subscript_index(node)
    if index is None or isinstance(index, cst.Integer):
        return
    for owner in evaluator.evaluate(node.value, scope):
        if isinstance(owner, Object):
            function = BY_METHOD.get((owner.type, "[]"))
            if function is not None:
                name = "flags[]" if owner.type == "request_flags" else "all_flags()[]"
                yield Place(node, index, scope, function.kind, function.about, name)


def _of_class(node: cst.ClassDef, scope: Scope, evaluator: ExpressionEvaluator) -> Iterator[Place]:
    for mixin, (attribute, function) in evaluator.vocabulary.mixins.items():
        bindings = scope.bindings.get(attribute, ())
        if bindings and _has_mixin(scope, mixin, evaluator, frozenset()):
            for one in bindings:
                if isinstance(one, Assigned):
                    yield _of_mixin(one.node, one.node, scope, attribute, function)


def _has_mixin(
    scope: Scope, mixin: str, evaluator: ExpressionEvaluator, seen: frozenset[Scope]
) -> bool:
    outside = scope.parent or scope
    for node in scope.bases:
        for value in evaluator.evaluate(node, outside):
            if isinstance(value, Name) and value.name == mixin:
                return True
            base = class_of(value)
            if base is not None and base not in seen | {scope}:
                is_found = _has_mixin(base, mixin, evaluator, seen | {scope})
                if is_found:
                    return True
    return False


def _key_arguments(args: list[cst.Arg], function: Function) -> Iterator[cst.BaseExpression]:
    names = {function.parameter}
    if function.kind == Kind.QUERY and function.position is None:
        names |= {f"{function.parameter}__exact", f"{function.parameter}__in"}
    for arg in args:
        if arg.keyword is not None and arg.keyword.value in names:
            yield from _elements(arg.value)
            return
    place = 0
    for arg in args:
        if arg.keyword is not None or arg.star == "**":
            continue
        if arg.star == "*":
            # All that follows is at an unknown place.
            if function.position is not None:
                yield arg.value
            return
        if function.is_many or place == function.position:
            yield arg.value
        place += 1


def _elements(node: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    """Yields the keys of `key__in=["a", "b"]`, or the only one."""
    if isinstance(node, cst.List | cst.Tuple | cst.Set):
        yield from (element.value for element in node.elements)
    else:
        yield node


def _is_key(arg: cst.Arg) -> bool:
    return arg.keyword is not None and arg.keyword.value.partition("__")[0] == "key"


_PARTIALS = ("functools.partial",)


@dataclass(frozen=True)
class Called:
    """A function, and the arguments that it gets."""

    name: str
    functions: Values
    args: list[cst.Arg]
    #: Another function calls it, such as `partial` or `map`.
    is_passed: bool = False


def called_function(node: cst.Call, scope: Scope, evaluator: ExpressionEvaluator) -> Called:
    """Returns the function that gets the arguments of a call."""
    functions = evaluator.evaluate(node.func, scope)
    args = list(node.args)
    is_partial = any(
        isinstance(function, Name) and function.name in _PARTIALS for function in functions
    )
    if is_partial and args:
        # The bound arguments of `partial(flag_enabled, "key")`.
        return _passed(args[0], args[1:], scope, evaluator)
    if isinstance(node.func, cst.Call) and node.func.args:
        # `sync_to_async(flag_enabled)("key")`.
        inner = node.func.args[0]
        if _is_ours(inner, scope, evaluator):
            return _passed(inner, args, scope, evaluator)
    for index, arg in enumerate(args[:-1], start=1):
        # `map(flag_enabled, KEYS)`, `executor.submit(flag_enabled, "key")`.
        if _is_ours(arg, scope, evaluator):
            others = [_each(one, scope, evaluator) for one in args[index:]]
            return _passed(arg, others, scope, evaluator)
    return Called(last_name(node.func), functions, args)


def _passed(
    arg: cst.Arg, args: list[cst.Arg], scope: Scope, evaluator: ExpressionEvaluator
) -> Called:
    functions = evaluator.evaluate(arg.value, scope)
    return Called(last_name(arg.value), functions, args, is_passed=True)


def _is_ours(arg: cst.Arg, scope: Scope, evaluator: ExpressionEvaluator) -> bool:
    """Whether an argument is a function of a library that evaluates a key."""
    if arg.star or not isinstance(arg.value, cst.Name | cst.Attribute):
        return False
    known = evaluator.vocabulary.functions
    return any(
        isinstance(one, Name) and one.name in known and known[one.name].kind == Kind.EVALUATION
        for one in evaluator.evaluate(arg.value, scope)
    )


def _each(arg: cst.Arg, scope: Scope, evaluator: ExpressionEvaluator) -> cst.Arg:
    """Returns an argument that stands for each element of a collection; others as they are."""
    values = evaluator.evaluate(arg.value, scope)
    if not any(isinstance(value, Items) and value.keys is None for value in values):
        return arg
    index = cst.SubscriptElement(cst.Index(cst.Name("_")))
    return arg.with_changes(value=cst.Subscript(arg.value, [index]))


_COMMANDS = ("django.core.management.call_command", "call_command")
# Verbs of `manage.py flags` with several keys of flags, and those that begin with one.
_MANY = frozenset({"delete", "export", "history", "kill", "off", "on", "references", "show"})
_ONE = frozenset(
    {"allow", "create", "explain", "impact", "plan", "restore", "rollout", "set-rules", "snooze"}
    | {"test", "undo", "update", "usage"}
)
#: The command and its verb.
_BEFORE = 2


def command_keys(
    node: cst.Call, scope: Scope, evaluator: ExpressionEvaluator
) -> Iterator[cst.BaseExpression]:
    """Yields the expressions of the keys of flags that a call passes to `manage.py flags`."""
    positional = [one.value for one in node.args if one.keyword is None and not one.star]
    if len(positional) <= _BEFORE or not _is_command(node, scope, evaluator):
        return
    command, verbs = (evaluator.evaluate(one, scope) for one in positional[:_BEFORE])
    if command != (Text("flags"),):
        return
    verb = {one.text for one in verbs if isinstance(one, Text)}
    if verb & _MANY:
        yield from (one for one in positional[_BEFORE:] if not _is_option(one))
    elif verb & _ONE:
        yield positional[_BEFORE]


def _is_command(node: cst.Call, scope: Scope, evaluator: ExpressionEvaluator) -> bool:
    return any(
        isinstance(one, Name) and one.name in _COMMANDS
        for one in evaluator.evaluate(node.func, scope)
    )


def _is_option(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.SimpleString) and node.raw_value.startswith("-")
