"""An expression → the values that it may have, without running it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import libcst as cst

from flagstaff.cleanup.references.constancy import Constancy, is_enumeration
from flagstaff.cleanup.references.expressions import attribute, items, returned, subscript, text
from flagstaff.cleanup.references.naming import is_request_name, is_test, last_name
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.scopes import (
    Assigned,
    Binding,
    FunctionScope,
    Imported,
    Scope,
    find,
    is_same,
)
from flagstaff.cleanup.references.uses import Uses
from flagstaff.cleanup.references.values import (
    ANY,
    MAX_VALUES,
    Bound,
    Items,
    Name,
    Object,
    Parameter,
    Value,
    Values,
    at,
    class_of,
    elements,
    union,
)
from flagstaff.cleanup.references.vocabularies import Vocabulary

_MAX_DEPTH = 40
_SETTINGS = "django.conf.settings"


class ExpressionEvaluator:
    """Evaluates expressions of the modules of a project.

    A strict one knows a value only if nothing in the project can make it another one.
    """

    def __init__(self, project: Project, lenient: ExpressionEvaluator | None = None) -> None:
        self._project = project
        self.is_strict = lenient is not None
        # The classes that may be related: none is left out because it is not known for sure.
        self._constancy = Constancy(project, lenient or self)
        self._children: dict[tuple[str, str], list[Scope]] = {}
        # Each expression is evaluated once. One that refers to itself is unknown there.
        self._known: dict[cst.BaseExpression, Values] = {}
        self._active: set[cst.BaseExpression] = set()
        self._looking: set[tuple[str, str, str]] = set()

    @cached_property
    def strict(self) -> ExpressionEvaluator:
        """A strict one for the same project, which is slower."""
        return ExpressionEvaluator(self._project, self)

    @property
    def vocabulary(self) -> Vocabulary:
        """The names that the search knows."""
        return self._project.vocabulary

    @property
    def uses(self) -> Uses:
        """How code of the project uses names."""
        return self._constancy.uses

    def evaluate(self, node: cst.BaseExpression, scope: Scope) -> Values:
        """Returns the possible values of an expression."""
        if node in self._known:
            return self._known[node]
        if len(self._active) >= _MAX_DEPTH or node in self._active:
            return ANY
        self._active.add(node)
        try:
            found = self._evaluate(node, scope)
        finally:
            self._active.discard(node)
        self._known[node] = found if 0 < len(found) <= MAX_VALUES else ANY
        return self._known[node]

    def member(self, scope: Scope, name: str) -> Values:
        """Returns what a class or a module has under a name; nothing if it has none."""
        # Classes and imports may go round in a circle, whose modules may be parsed again.
        wanted = (scope.root.path, scope.name, name)
        if wanted in self._looking:
            return ()
        self._looking.add(wanted)
        try:
            if name in scope.bindings:
                return self._settled(name, self._bound(scope.bindings[name], scope), scope)
            return self._inherited(scope, name)
        finally:
            self._looking.discard(wanted)

    def _inherited(self, scope: Scope, name: str) -> Values:
        if scope.kind == "class":
            for base in self.bases(scope):
                if found := self.member(base, name):
                    return found
        return self._starred(scope, name)

    def _settled(self, name: str, values: Values, scope: Scope) -> Values:
        if self.is_strict and not self._constancy.is_settled(name, values, scope):
            return ANY
        return values

    def is_constant(self, owner: Bound, name: str) -> bool:
        """Returns False if a strict evaluation does not know an attribute."""
        return not self.is_strict or self._constancy.is_constant(owner, name)

    def is_enumeration(self, scope: Scope) -> bool:
        """Returns True for a class that inherits from one of Python's or Django's enumerations."""
        return is_enumeration(scope, self)

    def bases(self, scope: Scope) -> Iterator[Scope]:
        """Yields the base classes of a class that are in the searched files."""
        for node in scope.bases:
            for value in self.evaluate(node, scope.parent or scope):
                base = class_of(value)
                if base is not None and base is not scope:
                    yield base

    def children(self, scope: Scope) -> Iterator[Scope]:
        """Yields the classes of the project that inherit from a class."""
        key = (scope.root.path, scope.name)
        if key not in self._children:
            # Until the list is complete: classes may go round in a circle.
            self._children[key] = []
            found = self._project.mentioning(scope.name.rpartition(".")[2])
            direct = [
                one
                for module in found
                for _, one in module.found.classes
                if any(is_same(base, scope) for base in self.bases(one))
            ]
            further = [below for one in direct for below in self.children(one)]
            self._children[key] = [*direct, *further]
        yield from self._children[key]

    def is_overridden(self, scope: Scope, name: str) -> bool:
        """Returns True if a class of the project inherits from this one, and has its own `name`."""
        return any(name in one.bindings for one in self.children(scope))

    def is_configured(self, scope: Scope, name: str) -> bool:
        """Returns True if the project calls `as_view` of this class, or a child, with `name`."""
        for module in self._project.mentioning(name):
            for call, place in module.found.calls:
                names = [one.keyword.value for one in call.args if one.keyword is not None]
                if name not in names or not isinstance(call.func, cst.Attribute):
                    continue
                owners = map(class_of, self.evaluate(call.func.value, place))
                every = (scope, *self.children(scope))
                if any(
                    owner is not None and any(is_same(owner, of) for of in every)
                    for owner in owners
                ):
                    return True
        return False

    def _evaluate(self, node: cst.BaseExpression, scope: Scope) -> Values:  # noqa: PLR0911
        match node:
            case cst.Name():
                return self._name(node.value, scope)
            case cst.Attribute():
                return attribute(node, scope, self)
            case cst.Call():
                return returned(node, scope, self)
            case cst.Subscript():
                return subscript(node, scope, self)
            case cst.Await():
                return self.evaluate(node.expression, scope)
            case cst.NamedExpr():
                return self.evaluate(node.value, scope)
            case cst.IfExp():
                return union(self.evaluate(node.body, scope), self.evaluate(node.orelse, scope))
            case cst.BooleanOperation():
                return union(self.evaluate(node.left, scope), self.evaluate(node.right, scope))
            case cst.List() | cst.Tuple() | cst.Set() | cst.Dict():
                return (items(node, scope, self),)
            case _:
                return text(node, scope, self)

    def _name(self, name: str, scope: Scope) -> Values:
        if (found := find(name, scope)) is not None:
            values = self._settled(name, self._bound(found[1], found[0]), found[0])
            # `request = self.find_request()`.
            return (Object("request"),) if values == ANY and name in ("req", "request") else values
        return self._starred(scope.root, name) or (Name(name),)

    def _starred(self, scope: Scope, name: str) -> Values:
        """Returns what star imports bind: the first one that is known to have the name."""
        found = [self._imported_from(star, name) for star in scope.stars]
        known = (
            values
            for values in found
            if any(
                not isinstance(value, Name) or self.vocabulary.is_public(value.name)
                for value in values
            )
        )
        return next(known, next(filter(None, found), ()))

    def _bound(self, bindings: list[Binding], scope: Scope) -> Values:
        return union(*(self._binding(binding, scope) for binding in bindings))

    def _binding(self, binding: Binding, scope: Scope) -> Values:
        match binding:
            case None:
                return ANY
            case str():
                return parameter(binding, scope, self._project)
            case Imported():
                return self.imported(binding.name)
            case Scope():
                return (Bound(binding),)
            case Assigned():
                return self._assigned(binding, scope)

    def _assigned(self, binding: Assigned, scope: Scope) -> Values:
        values = self.evaluate(binding.node, binding.scope)
        if binding.is_element:
            values = union(*elements(tuple(map(self._members, values))))
        if binding.index is not None:
            values = at(values, binding.index)
        # The member of an enumeration may be written as `auto()`.
        return values or ANY

    def _members(self, value: Value) -> Value:
        """Returns the members of an enumeration; other values as they are."""
        scope = class_of(value)
        if scope is None or (isinstance(value, Bound) and value.is_instance):
            return value
        if self.is_strict and not self.is_enumeration(scope):
            return ANY[0]
        names = [name for name in scope.bindings if not name.startswith("_")]
        members = (self.member(scope, name) for name in names)
        return Items(tuple(one for one in members if not isinstance(one[0], Bound)))

    def imported(self, name: str) -> Values:
        """Returns the module or the name that a dotted name imports."""
        if (module := self._project.find(name)) is not None:
            return (Bound(module.found.module),)
        parent, _, last = name.rpartition(".")
        return self._imported_from(parent, last) or (Name(self.vocabulary.public_name(name)),)

    def _imported_from(self, module: str, name: str) -> Values:
        """Returns what `from module import name` binds; nothing if the search knows nothing."""
        if (found := self._project.find(module)) is not None:
            return self.member(found.found.module, name)
        if module == _SETTINGS:
            found_in = (one.found.module for one in self._project.settings_with(name))
            return union(*(self.member(scope, name) for scope in found_in)) or ANY
        if module.partition(".")[0] in self.vocabulary.packages:
            return (Name(self.vocabulary.public_name(f"{module}.{name}")),)
        return ()


_REQUESTS = ("HttpRequest", "Request", "WSGIRequest", "ASGIRequest", "AsyncRequest")
_FIXTURE = "flags"


def parameter(name: str, scope: Scope, project: Project) -> Values:  # noqa: PLR0911
    """Returns what a parameter is, by its name and its annotation."""
    if not isinstance(scope, FunctionScope):
        return ANY
    if name == scope.receiver and scope.parent is not None:
        return (Bound(scope.parent, is_instance=not scope.is_class_method),)
    annotation = scope.annotations.get(name)
    shown = last_name(annotation) if annotation is not None else ""
    if shown in _REQUESTS or is_request_name(name):
        return (Object("request"),)
    if shown == "Snapshot":
        return (Object("snapshot"),)
    if shown == "RequestFlags":
        return (Object("request_flags"),)
    if name == _FIXTURE and is_test(scope) and not _has_own_fixture(scope.root, project):
        return (Object("fixture"),)
    return (Parameter(scope, name),)


def _has_own_fixture(module: Scope, project: Project) -> bool:
    """Whether a fixture of the project hides ours, in the module or in a conftest.py."""
    package = module.module
    while True:
        if _FIXTURE in module.bindings:
            return True
        package = package.rpartition(".")[0]
        if not package:
            return False
        found = project.find(f"{package}.conftest")
        module = found.found.module if found is not None else module
