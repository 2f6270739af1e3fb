"""A Python module → its references, and the functions in it that pass on a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import libcst as cst

from flagstaff.cleanup.references.embedded import in_strings
from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.functions import BY_NAME, Function
from flagstaff.cleanup.references.model import Kind, Reference
from flagstaff.cleanup.references.naming import key_of
from flagstaff.cleanup.references.parametrized import parametrized
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.places import (
    Place,
    WrapperId,
    Wrappers,
    places_of,
    wrapper_id,
)
from flagstaff.cleanup.references.prefilter import Export, may_have_keys
from flagstaff.cleanup.references.values import (
    Name,
    Object,
    Parameter,
    Pattern,
    Value,
)

__all__ = ["InModule", "exports_of", "in_module"]


@dataclass
class InModule:
    """What the search finds in one module."""

    references: list[Reference] = field(default_factory=list)
    wrappers: dict[WrapperId, tuple[Function, ...]] = field(default_factory=dict)
    exports: set[Export] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)


def in_module(
    module: Module, evaluator: Evaluator, wrappers: Wrappers, *, only_wrappers: bool = False
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
    place: Place, module: Module, evaluator: Evaluator, found: InModule
) -> Iterator[Reference]:
    for value in evaluator.evaluate(place.key, place.scope):
        if isinstance(value, Parameter):
            yield from _passed_on(place, value, module, evaluator, found)
        yield _reference(place, place.node, value, module)


def _passed_on(
    place: Place, value: Parameter, module: Module, evaluator: Evaluator, found: InModule
) -> Iterator[Reference]:
    """Notes a wrapper, and yields the default of its parameter."""
    scope = value.function
    position = scope.parameters.index(value.name) if value.name in scope.parameters else None
    known = found.wrappers.get(wrapper_id(scope), ())
    function = Function(place.kind, place.about, value.name, position)
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
        pattern="" if key is not None else _pattern(value),
    )


def _pattern(value: Value) -> str:
    return value.pattern if isinstance(value, Pattern) else "*"


def _exports(module: Module, evaluator: Evaluator) -> Iterator[Export]:
    """Yields the names in the module for functions and objects of flagstaff."""
    scope = module.found.module
    for name in scope.bindings:
        if may_have_keys(name.encode()):
            continue  # A file with this name is parsed anyway.
        for value in evaluator.member(scope, name):
            is_ours = isinstance(value, Name) and (
                value.name in BY_NAME or value.name in ("flagstaff.changes", "flagstaff")
            )
            if is_ours or isinstance(value, Object):
                yield _export(module.path, name)


def _export(path: str, name: str) -> Export:
    parts = path.replace("\\", "/").removesuffix(".py").split("/")
    tail = parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]
    return Export(path, tail, name)
