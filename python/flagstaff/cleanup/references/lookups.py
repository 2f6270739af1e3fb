"""What the parts of the evaluation ask each other for."""

from __future__ import annotations

from typing import Protocol

import libcst as cst

from flagstaff.cleanup.references.scopes import Scope
from flagstaff.cleanup.references.values import Bound, Values


class Lookups(Protocol):
    """The evaluation of expressions and names, as its parts see it."""

    @property
    def is_strict(self) -> bool:
        """Whether a value is known only if nothing in the project can make it another one."""
        ...

    def evaluate(self, node: cst.BaseExpression, scope: Scope) -> Values:
        """Returns the possible values of an expression."""
        ...

    def member(self, scope: Scope, name: str) -> Values:
        """Returns what a class or a module has under a name; nothing if it has none."""
        ...

    def imported(self, name: str) -> Values:
        """Returns the module or the name that a dotted name imports."""
        ...

    def is_constant(self, owner: Bound, name: str) -> bool:
        """Returns False if a strict evaluation does not know an attribute."""
        ...

    def is_enumeration(self, scope: Scope) -> bool:
        """Returns True for a class that inherits from one of Python's or Django's enumerations."""
        ...
