"""The function that a call is about: the called one, or one that is passed to it."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.functions import BY_NAME
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.naming import last_name
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import Items, Name, Values

__all__ = ["Called", "called_function"]

_PARTIALS = ("functools.partial",)


@dataclass(frozen=True)
class Called:
    """A function, and the arguments that it gets."""

    name: str
    functions: Values
    args: list[cst.Arg]
    #: Another function calls it, such as `partial` or `map`.
    is_passed: bool = False


def called_function(node: cst.Call, scope: Scope, evaluator: Evaluator) -> Called:
    """Returns the function that gets the arguments of a call."""
    functions = evaluator.evaluate(node.func, scope)
    args = list(node.args)
    is_partial = any(isinstance(one, Name) and one.name in _PARTIALS for one in functions)
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


def _passed(arg: cst.Arg, args: list[cst.Arg], scope: Scope, evaluator: Evaluator) -> Called:
    functions = evaluator.evaluate(arg.value, scope)
    return Called(last_name(arg.value), functions, args, is_passed=True)


def _is_ours(arg: cst.Arg, scope: Scope, evaluator: Evaluator) -> bool:
    """Whether an argument is a function of flagstaff that evaluates a key."""
    if arg.star or not isinstance(arg.value, cst.Name | cst.Attribute):
        return False
    return any(
        isinstance(one, Name) and one.name in BY_NAME and BY_NAME[one.name].kind == Kind.EVALUATION
        for one in evaluator.evaluate(arg.value, scope)
    )


def _each(arg: cst.Arg, scope: Scope, evaluator: Evaluator) -> cst.Arg:
    """Returns an argument that stands for each element of a collection; others as they are."""
    values = evaluator.evaluate(arg.value, scope)
    if not any(isinstance(one, Items) and one.keys is None for one in values):
        return arg
    index = cst.SubscriptElement(cst.Index(cst.Name("_")))
    return arg.with_changes(value=cst.Subscript(arg.value, [index]))
