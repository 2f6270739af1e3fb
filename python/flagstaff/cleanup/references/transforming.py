"""What the parts of the rewriting share: the places, and expressions with a known result."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import libcst as cst

from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.variables import Variables

_Expression = TypeVar("_Expression", bound=cst.BaseExpression)
# Without a side effect.
_PLAIN = (cst.Name, cst.Attribute, cst.BaseNumber, cst.BaseString)
# They need no brackets of their own.
_ATOMS = (*_PLAIN, cst.Call, cst.Subscript)


class Resolved:
    """The nodes that stand for True or False, and how they simplify what is around them."""

    def __init__(self, *, keeps_brackets: bool = False) -> None:
        self._results: dict[cst.CSTNode, bool] = {}
        self._keeps_brackets = keeps_brackets

    def of(self, node: cst.CSTNode) -> bool | None:
        """Returns the result of a node, or None if it is not known."""
        return self._results.get(node)

    def constant(self, result: bool, replaced: cst.BaseExpression) -> cst.Name:  # noqa: FBT001
        """Returns a node for the result, in the brackets of the one that it replaces."""
        node = cst.Name(str(result), lpar=replaced.lpar, rpar=replaced.rpar)
        self._results[node] = result
        return node

    def awaited(self, node: cst.Await) -> cst.BaseExpression:
        """Simplifies `await True`."""
        result = self.of(node.expression)
        return node if result is None else self.constant(result, node)

    def negated(self, node: cst.UnaryOperation) -> cst.BaseExpression:
        """Simplifies `not True`."""
        result = self.of(node.expression)
        if result is None or not isinstance(node.operator, cst.Not):
            return node
        return self.constant(not result, node)

    def combined(self, node: cst.BooleanOperation) -> cst.BaseExpression:
        """Simplifies `True and x` and `True or x`.

        `x and True` is left: as a value it is not the same as `x`.
        """
        result = self.of(node.left)
        if result is None:
            both = self.of(node.right)
            decides = isinstance(node.operator, cst.Or)
            if both is decides and isinstance(node.left, _PLAIN):
                self._results[node] = decides
            return node
        if result is isinstance(node.operator, cst.Or):
            if isinstance(node.left, cst.BooleanOperation):
                # The value of `x or True` is not the same as `True`.
                return self._in_brackets_of(node, node.left)
            return self.constant(result, node)
        return self._in_brackets_of(node, node.right)

    def chosen(self, node: cst.IfExp) -> cst.BaseExpression:
        """Simplifies `a if True else b`."""
        node = node.with_changes(test=self.as_test(node.test))
        result = self.of(node.test)
        if result is None:
            return node
        return self._in_brackets_of(node, node.body if result else node.orelse)

    def with_simple_test(self, node: cst.If) -> cst.If:
        """Simplifies the condition of an `if`."""
        return node.with_changes(test=self.as_test(node.test))

    def as_test(self, node: cst.BaseExpression) -> cst.BaseExpression:
        """Simplifies `x and True`, where only the truth of the value counts."""
        if not isinstance(node, cst.BooleanOperation) or self.of(node) is not None:
            return node
        left, right = self.as_test(node.left), self.as_test(node.right)
        node = node.with_changes(left=left, right=right)
        result = self.of(right)
        if result is None or result is isinstance(node.operator, cst.Or):
            return node
        return self._in_brackets_of(node, left)

    def _in_brackets_of(self, outer: cst.BaseExpression, inner: _Expression) -> _Expression:
        result = self.of(inner)
        is_atom = isinstance(inner, _ATOMS) and "\n" not in cst.Module([]).code_for_node(inner)
        if not outer.lpar or inner.lpar or (is_atom and not self._keeps_brackets):
            return inner
        node = inner.with_changes(lpar=outer.lpar, rpar=outer.rpar)
        if result is not None:
            self._results[node] = result
        return node


#: What may take the place of a small statement.
SmallStatement: TypeAlias = (
    cst.BaseSmallStatement | cst.FlattenSentinel[cst.BaseSmallStatement] | cst.RemovalSentinel
)


class Transformer(cst.CSTTransformer):
    """A part of the rewriting. Each part handles other types of nodes."""

    def __init__(
        self, targets: Targets, variables: Variables, *, keeps_brackets: bool = False
    ) -> None:
        super().__init__()
        self.targets = targets
        self.variables = variables
        self.known = Resolved(keeps_brackets=keeps_brackets)
        #: The places that are resolved in the new code.
        self.done: set[Target] = set()
