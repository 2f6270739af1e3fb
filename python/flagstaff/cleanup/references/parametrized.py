"""The keys that `pytest.mark.parametrize` passes to a test."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from flagstaff.cleanup.references.combining import at, elements
from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.naming import last_name
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import Items, Text, Values

__all__ = ["parametrized"]


def parametrized(
    test: Scope, parameter: str, evaluator: Evaluator
) -> Iterator[tuple[cst.BaseExpression, Values]]:
    """Yields the expressions that the marks of a test and its class pass to a parameter."""
    for scope in filter(None, (test, test.parent)):
        outside = scope.parent or scope
        for decorator in scope.decorators:
            if isinstance(decorator, cst.Call) and last_name(decorator.func) == "parametrize":
                yield from _passed(decorator, parameter, outside, evaluator)


def _passed(
    mark: cst.Call, parameter: str, scope: Scope, evaluator: Evaluator
) -> Iterator[tuple[cst.BaseExpression, Values]]:
    names = _argument(mark, 0, "argnames")
    values = _argument(mark, 1, "argvalues")
    # With `indirect`, the values are for a fixture.
    if names is None or values is None or _argument(mark, 2, "indirect") is not None:
        return
    parameters = _names(evaluator.evaluate(names, scope))
    if parameter not in parameters:
        return
    index = parameters.index(parameter) if len(parameters) > 1 else None
    if not isinstance(values, cst.List | cst.Tuple | cst.Set):
        for one in elements(evaluator.evaluate(values, scope)):
            yield values, one if index is None else at(one, index)
        return
    for element in values.elements:
        node = _part(element.value, index)
        found = evaluator.evaluate(node, scope)
        if isinstance(element, cst.StarredElement):
            for one in elements(found):
                yield node, one if index is None else at(one, index)
        elif index is not None and node is element.value:
            yield node, at(found, index)
        else:
            yield node, found


def _part(node: cst.BaseExpression, index: int | None) -> cst.BaseExpression:
    """Returns the part of `("a", 1)` or `pytest.param("a", 1)` at a place, or the whole."""
    if isinstance(node, cst.Call) and last_name(node.func) == "param":
        arguments = [arg.value for arg in node.args if arg.keyword is None and not arg.star]
    elif isinstance(node, cst.Tuple | cst.List) and index is not None:
        arguments = [element.value for element in node.elements]
    else:
        return node
    place = index or 0
    return arguments[place] if place < len(arguments) else node


def _argument(mark: cst.Call, place: int, name: str) -> cst.BaseExpression | None:
    for index, arg in enumerate(mark.args):
        is_here = index == place if arg.keyword is None else arg.keyword.value == name
        if is_here and not arg.star:
            return arg.value
    return None


def _names(values: Values) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, Text):
            found += (name.strip() for name in value.text.split(","))
        elif isinstance(value, Items):
            found += (one.text for part in value.values for one in part if isinstance(one, Text))
    return found
