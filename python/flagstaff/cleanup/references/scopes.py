"""The scopes of a module, and what each name in them is bound to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import libcst as cst


@dataclass(eq=False)
class Scope:
    """The names of a module, a class or a function."""

    kind: Literal["module", "class", "function"]
    #: The names of the classes and functions around it and its own, joined by dots.
    name: str
    parent: Scope | None = None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    #: The base classes of a class.
    bases: tuple[cst.BaseExpression, ...] = ()
    metaclass: cst.BaseExpression | None = None
    #: The decorators of a class or a function.
    decorators: tuple[cst.BaseExpression, ...] = ()
    #: The modules of `from … import *`.
    stars: list[str] = field(default_factory=list)
    #: Of a module: its file and its dotted name.
    path: str = ""
    module: str = ""

    def bind(self, name: str, binding: Binding) -> None:
        """Adds what a name may be bound to."""
        self.bindings.setdefault(name, []).append(binding)

    @property
    def root(self) -> Scope:
        """The scope of the module."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


@dataclass(eq=False)
class FunctionScope(Scope):
    """A function: its parameters, in their order, without `self` or `cls`."""

    parameters: list[str] = field(default_factory=list)
    defaults: dict[str, cst.BaseExpression] = field(default_factory=dict)
    annotations: dict[str, cst.BaseExpression] = field(default_factory=dict)
    #: The parameter for the instance or the class, or "".
    receiver: str = ""
    is_class_method: bool = False


@dataclass(frozen=True, eq=False)
class Assigned:
    """An expression, or each element of one in a loop."""

    node: cst.BaseExpression
    scope: Scope
    is_element: bool = False
    #: The place in the target of a tuple, such as 0 for `a` in `a, b = …`.
    index: int | None = None


@dataclass(frozen=True)
class Imported:
    """A module, or a name of a module."""

    name: str


# None: something that the search does not follow. A string: a parameter of that name.
Binding: TypeAlias = Assigned | Imported | Scope | str | None


def find(name: str, scope: Scope) -> tuple[Scope, list[Binding]] | None:
    """Returns the scope that binds a name, and the bindings; None if it is bound nowhere."""
    here: Scope | None = scope
    while here is not None:
        # The names of a class are not visible in its methods.
        if name in here.bindings and (here is scope or here.kind != "class"):
            return here, here.bindings[name]
        here = here.parent
    return None


def is_same(one: Scope, other: Scope) -> bool:
    """Returns True for the same scope, also if its file was parsed twice."""
    return one is other or (one.name, one.root.path) == (other.name, other.root.path)
