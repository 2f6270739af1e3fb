"""The places of a module whose flag has a known result: what the patch may resolve."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import libcst as cst

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.model import About, Kind
from flagstaff.cleanup.references.naming import key_of, last_name
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.places import Place
from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import Name

#: What configures FlagRequiredMixin.
MIXIN_ATTRIBUTES = frozenset({"flag_key", "flag_otherwise", "flag_context"})
_METHOD_DECORATOR = Name("django.utils.decorators.method_decorator")
_FIXTURE_METHODS = {"flags.on": True, "flags.off": False, "flags.set": None}


@dataclass(frozen=True, eq=False)
class Target:
    """A place, the keys that it may have, and the result that all of them have."""

    place: Place
    keys: frozenset[str]
    result: bool


@dataclass
class Targets:
    """The places of a module that the patch may resolve, and what it needs to know about others."""

    #: By the node that names the flag. Calls of the pytest fixture have several keys, and are here
    #: by each of them.
    by_node: dict[cst.CSTNode, Target] = field(default_factory=dict)
    #: The calls of Django's `method_decorator`.
    method_decorators: set[cst.CSTNode] = field(default_factory=set)
    #: Evaluates the arguments of the places.
    evaluator: ExpressionEvaluator | None = None

    def of(self, node: cst.CSTNode, kind: Kind) -> Target | None:
        """Returns the place of this kind that a node is, or None."""
        found = self.by_node.get(node)
        return found if found is not None and found.place.kind == kind else None

    def drop_in(self, scopes: Collection[str]) -> bool:
        """Leaves out the places in these functions and classes, and in those around them."""
        gone = [
            node
            for node, target in self.by_node.items()
            if any(_is_in(scope, target.place.scope) for scope in scopes)
        ]
        for node in gone:
            del self.by_node[node]
        return bool(gone)


def _is_in(name: str, scope: Scope) -> bool:
    outer = scope.name.replace("<lambda>", "lambda")
    return name == outer or (outer != "" and name.startswith(f"{outer}."))


def targets_in(
    module: Module,
    places: Iterable[Place],
    evaluator: ExpressionEvaluator,
    results: Mapping[str, bool],
    overridden: Collection[str] = (),
) -> Targets:
    """Returns those places of a module whose flags have a result, but no calls of wrappers.

    Overrides of the keys in `overridden` are not among them either.
    """
    found = Targets(evaluator=evaluator)
    for target in _targets(places, evaluator, results):
        place = target.place
        if place.kind == Kind.TEST and not target.keys.isdisjoint(overridden):
            continue
        found.by_node[place.key if is_fixture(place) else place.node] = target
    _drop_contradictions(found)
    for call, scope in module.found.calls:
        if evaluator.evaluate(call.func, scope) == (_METHOD_DECORATOR,):
            found.method_decorators.add(call)
    return found


def is_fixture(place: Place) -> bool:
    """Returns True for a call of the pytest fixture that turns flags on or off."""
    return place.kind == Kind.TEST and place.name in _FIXTURE_METHODS


def override(node: cst.CSTNode, place: Place) -> bool | None:
    """Returns the result that `override_flag("key", True)` sets; None if it is not a constant."""
    if not isinstance(node, cst.Call):
        return None
    if is_fixture(place) and place.name != "flags.set":
        return _FIXTURE_METHODS[place.name]
    others = [arg for arg in node.args if arg.keyword is None or arg.keyword.value != "key"]
    if len(others) == len(node.args):
        others = others[1:]
    if not others:
        # `pytest.mark.flag("key")` turns it on.
        return True
    value = others[0].value
    names = {"True": True, "False": False}
    return names.get(value.value) if isinstance(value, cst.Name) else None


def _targets(
    places: Iterable[Place], evaluator: ExpressionEvaluator, results: Mapping[str, bool]
) -> Iterator[Target]:
    for place in places:
        if place.is_indirect or place.about != About.FLAG:
            continue
        keys = {key_of(value) for value in evaluator.strict.evaluate(place.key, place.scope)}
        known = frozenset(key for key in keys if key is not None)
        of_keys = {results.get(key) if key is not None else None for key in keys}
        result = of_keys.pop() if len(of_keys) == 1 else None
        if result is not None and _is_certain(place, evaluator):
            yield Target(place, known, result)


def _is_certain(place: Place, evaluator: ExpressionEvaluator) -> bool:
    """Whether nothing else than flagstaff may be called, with nothing else than this key."""
    if place.kind == Kind.MIXIN and place.node is place.key:
        # A view that inherits from this one, or a URL, may need the mixin for its own flag.
        return len(place.scope.bindings[place.name]) == 1 and not (
            evaluator.is_overridden(place.scope, place.name)
            or any(evaluator.uses.is_assigned(name) for name in MIXIN_ATTRIBUTES)
            or any(evaluator.is_configured(place.scope, name) for name in MIXIN_ATTRIBUTES)
        )
    return _is_of_one_kind(place, evaluator)


def _is_of_one_kind(place: Place, evaluator: ExpressionEvaluator) -> bool:
    node = place.node
    if isinstance(node, cst.Subscript):
        return len(evaluator.evaluate(node.value, place.scope)) == 1
    if not isinstance(node, cst.Call):
        return True
    functions = evaluator.evaluate(node.func, place.scope)
    known = evaluator.vocabulary.functions
    if any(isinstance(function, Name) and function.name in known for function in functions):
        # `views.flag_enabled = …` replaces it in a module.
        return len(functions) == 1 and not evaluator.uses.is_stored(last_name(node.func))
    if not isinstance(node.func, cst.Attribute):
        return True
    return len(evaluator.evaluate(node.func.value, place.scope)) == 1


def _drop_contradictions(targets: Targets) -> None:
    """Leaves out tests that turn a flag both on and off: they are about its change."""
    found: dict[tuple[Scope, frozenset[str]], set[bool | None]] = {}
    of_fixture = {n: one for n, one in targets.by_node.items() if is_fixture(one.place)}
    for target in of_fixture.values():
        senses = found.setdefault((target.place.scope, target.keys), set())
        senses.add(override(target.place.node, target.place))
    for node, target in of_fixture.items():
        if len(found[target.place.scope, target.keys]) > 1:
            del targets.by_node[node]
