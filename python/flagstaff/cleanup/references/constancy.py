"""Whether a name has the same value whenever the code runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import libcst as cst

from flagstaff.cleanup.references.lookups import Lookups
from flagstaff.cleanup.references.naming import last_name
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.scopes import Assigned, Scope, is_same
from flagstaff.cleanup.references.uses import Uses
from flagstaff.cleanup.references.values import Bound, Items, Name, Text, Value, Values, class_of

# Their instances get attributes by position.
_RECORDS = frozenset(
    {"NamedTuple", "attrib", "attrs", "dataclass", "define", "frozen", "mutable", "s"}
)
# They decide what an attribute of the class is.
_HOOKS = ("__getattribute__", "__class_getitem__", "__init_subclass__")
# They decide what a member of an enumeration is.
_MEMBERS = frozenset({"__new__", "_value_", "value"})
_ENUMERATIONS = frozenset(
    {"Choices", "DjangoChoices", "Enum", "Flag", "IntEnum", "IntFlag", "IntegerChoices"}
    | {"ReprEnum", "StrEnum", "TextChoices"}
)


class Classes(Lookups, Protocol):
    """What the checks ask about the classes of the project."""

    def bases(self, scope: Scope) -> Iterator[Scope]:
        """Yields the base classes of a class that are in the searched files."""
        ...

    def children(self, scope: Scope) -> Iterator[Scope]:
        """Yields the classes of the project that inherit from a class."""
        ...


class Constancy:
    """Decides for the names of modules, classes and functions."""

    def __init__(self, project: Project, classes: Classes) -> None:
        self._project = project
        self._classes = classes
        self.uses = Uses(project)
        self._known: dict[tuple[str, str, str, bool], bool] = {}

    def is_settled(self, name: str, values: Values, scope: Scope) -> bool:
        """Returns False if code may change what the name is bound to, or its elements."""
        return not (
            (any(map(_is_constant, values)) and self._may_set(name, scope))
            or (any(map(_is_collection, values)) and not self._has_same_items(name, values, scope))
        )

    def is_constant(self, owner: Bound, name: str) -> bool:
        """Returns False if code may set the attribute of a class or of its instance."""
        scope = owner.scope
        if scope.kind != "class":
            return scope.kind == "module"
        known = (scope.root.path, scope.name, name, owner.is_instance)
        if known not in self._known:
            self._known[known] = self._is_constant(scope, name, is_instance=owner.is_instance)
        return self._known[known]

    def _may_set(self, name: str, scope: Scope) -> bool:
        if scope.kind == "function":
            return self.uses.may_delete(name, scope.root.path)
        if scope.kind == "class":
            # Its attributes are checked where the class is known.
            return False
        root = scope.root
        is_bound_again = any(self._project.may_bind(star, name) for star in root.stars)
        return is_bound_again or self.uses.may_set(name, root.path, root.module)

    def _has_same_items(self, name: str, values: Values, scope: Scope) -> bool:
        if any(_has_mutable_items(value) for value in values if isinstance(value, Items)):
            return False
        if scope.kind == "function":
            return not self.uses.may_change_local(name, scope.root.path)
        is_module = scope.kind == "module"
        owner = scope.module if is_module else scope.name.rpartition(".")[2]
        return not self.uses.may_change_items(name, owner, is_module=is_module)

    def _is_constant(self, scope: Scope, name: str, *, is_instance: bool) -> bool:
        own = list(family(scope, self._classes))
        if any(self._is_built(one, is_instance=is_instance) for one in own):
            return False
        if self._classes.is_enumeration(scope):
            return all(_MEMBERS.isdisjoint(one.bindings) for one in own)
        children = list(self._classes.children(scope))
        others = [one for child in children for one in family(child, self._classes)]
        known = {(one.root.path, one.name) for one in own}
        if any(name in one.bindings and (one.root.path, one.name) not in known for one in others):
            return False
        every = [*own, *others]
        return not self.uses.may_set_attribute(
            name,
            {one.name.rpartition(".")[2] for one in every},
            {one.root.path for one in every},
            is_instance=is_instance,
        )

    def _is_built(self, scope: Scope, *, is_instance: bool) -> bool:
        """Whether a decorator, a metaclass or a method decides what the attributes are."""
        if any(hook in scope.bindings for hook in _HOOKS):
            return True
        if _has_objects(scope) and self.uses.has_class_hooks():
            return True
        outside = scope.parent or scope
        makers = [getattr(decorator, "func", decorator) for decorator in scope.decorators]
        if scope.metaclass is not None:
            makers.append(scope.metaclass)
        for maker in makers:
            values = self._classes.evaluate(maker, outside)
            if not all(isinstance(value, Name) for value in values):
                return True
        names = {last_name(one) for one in (*makers, *scope.bases)}
        return is_instance and not names.isdisjoint(_RECORDS)


def is_enumeration(scope: Scope, classes: Classes) -> bool:
    """Returns True for a class that inherits from one of Python's or Django's enumerations."""
    return any(
        isinstance(value, Name) and value.name.rpartition(".")[2] in _ENUMERATIONS
        for one in family(scope, classes)
        for node in one.bases
        for value in classes.evaluate(node, one.parent or one)
    )


def family(scope: Scope, classes: Classes) -> Iterator[Scope]:
    """Yields a class and the classes from which it inherits."""
    seen: list[Scope] = []
    waiting = [scope]
    while waiting:
        one = waiting.pop()
        if not any(is_same(one, other) for other in seen):
            seen.append(one)
            yield one
            waiting += classes.bases(one)


def _has_objects(scope: Scope) -> bool:
    """Whether an attribute of a class is what a call returns."""
    every = (binding for bindings in scope.bindings.values() for binding in bindings)
    return any(isinstance(one, Assigned) and isinstance(one.node, cst.Call) for one in every)


def _is_constant(value: Value) -> bool:
    return isinstance(value, Text | Items) or class_of(value) is not None


def _is_collection(value: Value) -> bool:
    return isinstance(value, Items) and (value.is_mutable or _has_mutable_items(value))


def _has_mutable_items(items: Items) -> bool:
    """Whether an element is a collection that can be changed without the name of the outer one."""
    parts = (one for part in items.values for one in part)
    return any(isinstance(one, Items) and _is_collection(one) for one in parts)
