"""A Python module → its references, and the functions in it that pass on a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import libcst as cst

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.files import Export
from flagstaff.cleanup.references.functions import Function
from flagstaff.cleanup.references.model import Kind, Reference
from flagstaff.cleanup.references.naming import key_of, last_name
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.places import (
    Place,
    WrapperId,
    Wrappers,
    places_of,
    wrapper_id,
)
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.templates import Setup, in_template
from flagstaff.cleanup.references.values import (
    Items,
    Name,
    Object,
    Parameter,
    Pattern,
    Text,
    Value,
    Values,
    at,
    elements,
)


@dataclass
class InModule:
    """What the search finds in one module."""

    references: list[Reference] = field(default_factory=list)
    wrappers: dict[WrapperId, tuple[Function, ...]] = field(default_factory=dict)
    exports: set[Export] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)


def in_module(
    module: Module,
    evaluator: ExpressionEvaluator,
    wrappers: Wrappers,
    *,
    only_wrappers: bool = False,
) -> InModule:
    """Returns what is in a module. With `only_wrappers`, only the calls of these functions."""
    found = InModule()
    seen = set()
    found.places = [*places_of(module, evaluator, wrappers, only_wrappers=only_wrappers)]
    for place in found.places:
        for reference in _references(place, module, evaluator, found):
            if reference not in seen:
                seen.add(reference)
                found.references.append(reference)
    if not only_wrappers:
        found.references += in_strings(module, evaluator)
        found.exports |= set(_exports(module, evaluator))
        found.exports |= exports_of(found.wrappers)
    return found


def exports_of(wrappers: Iterable[WrapperId]) -> set[Export]:
    """Returns the names by which other modules call functions."""
    found: set[Export] = set()
    for path, name in wrappers:
        found.add(_export(path, name.rpartition(".")[2]))
        # A class is called by its own name.
        if name.endswith((".__init__", ".__call__")):
            found.add(_export(path, name.split(".")[-2]))
    return found


def _references(
    place: Place, module: Module, evaluator: ExpressionEvaluator, found: InModule
) -> Iterator[Reference]:
    for value in evaluator.evaluate(place.key, place.scope):
        if isinstance(value, Parameter):
            yield from _passed_on(place, value, module, evaluator, found)
        yield _reference(place, place.node, value, module)


def _passed_on(
    place: Place, value: Parameter, module: Module, evaluator: ExpressionEvaluator, found: InModule
) -> Iterator[Reference]:
    """Notes a wrapper, and yields the default of its parameter."""
    scope = value.function
    position = scope.parameters.index(value.name) if value.name in scope.parameters else None
    known = found.wrappers.get(wrapper_id(scope), ())
    function = Function(
        place.kind,
        place.about,
        value.name,
        position,
        or_about=place.or_about,
        source=place.source,
    )
    if function not in known:
        found.wrappers[wrapper_id(scope)] = (*known, function)
    if scope.root is module.found.module:
        of_test = replace(place, kind=Kind.TEST, name="parametrize")
        for node, values in parametrized(scope, value.name, evaluator):
            for one in values:
                if not isinstance(one, Name):
                    yield _reference(of_test, node, one, module)
    default = scope.defaults.get(value.name)
    if default is not None and scope.root is module.found.module:
        for one in evaluator.evaluate(default, scope.parent or scope):
            if not isinstance(one, Name):
                yield _reference(place, default, one, module)


def _reference(place: Place, node: cst.CSTNode, value: Value, module: Module) -> Reference:
    line, column = module.start(node)
    key = key_of(value)
    return Reference(
        path=module.path,
        line=line,
        column=column + 1,
        kind=place.kind if key is not None else Kind.DYNAMIC,
        key=key,
        code=module.lines[line - 1].strip(),
        about=place.about,
        name=place.name,
        or_about=place.or_about,
        source=place.source,
        pattern="" if key is not None else _pattern(value),
    )


def _pattern(value: Value) -> str:
    return value.pattern if isinstance(value, Pattern) else "*"


def _exports(module: Module, evaluator: ExpressionEvaluator) -> Iterator[Export]:
    """Yields the names in the module for functions and objects of flagstaff."""
    scope = module.found.module
    for name in scope.bindings:
        if evaluator.vocabulary.may_have_keys(name.encode()):
            continue  # A file with this name is parsed anyway.
        for value in evaluator.member(scope, name):
            is_ours = isinstance(value, Name) and (
                value.name in evaluator.vocabulary.functions
                or value.name in ("flagstaff.changes", "flagstaff", "waffle")
            )
            if is_ours or isinstance(value, Object):
                yield _export(module.path, name)


def _export(path: str, name: str) -> Export:
    parts = path.replace("\\", "/").removesuffix(".py").split("/")
    tail = parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]
    return Export(path, tail, name)


def in_strings(module: Module, evaluator: ExpressionEvaluator) -> Iterator[Reference]:
    """Yields the references in strings that are templates, except in docstrings."""
    for node, scope in module.found.strings:
        for value in evaluator.evaluate(node, scope):
            if not isinstance(value, Text):
                continue
            data = value.text.encode("utf-8", "replace")
            known = evaluator.vocabulary
            is_near = known.template_may_have_keys(data)
            if is_near and (found := in_template("", data, Setup(), known)):
                line, column = module.start(node)
                # Only a string in one piece has its lines where the file has them.
                is_long = value.text in module.source
                yield from (_placed(one, module, line, column, is_long=is_long) for one in found)


def _placed(one: Reference, module: Module, line: int, column: int, *, is_long: bool) -> Reference:
    below = one.line - 1 if is_long else 0
    return replace(
        one,
        path=module.path,
        line=line + below,
        column=one.column if below else column + 1,
        code=module.lines[line + below - 1].strip(),
    )


def parametrized(
    test: Scope, parameter: str, evaluator: ExpressionEvaluator
) -> Iterator[tuple[cst.BaseExpression, Values]]:
    """Yields the expressions that the marks of a test and its class pass to a parameter."""
    for scope in filter(None, (test, test.parent)):
        outside = scope.parent or scope
        for decorator in scope.decorators:
            if isinstance(decorator, cst.Call) and last_name(decorator.func) == "parametrize":
                yield from _passed(decorator, parameter, outside, evaluator)


def _passed(
    mark: cst.Call, parameter: str, scope: Scope, evaluator: ExpressionEvaluator
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
