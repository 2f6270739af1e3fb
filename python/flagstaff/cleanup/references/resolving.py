"""Evaluations become True or False, and the expressions around them are simplified."""

from __future__ import annotations

import libcst as cst

from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.transforming import Transformer
from flagstaff.cleanup.references.variables import evaluation_in


class ResolvesExpressions(Transformer):
    """Resolves evaluations, except in assertions of tests, which are for people."""

    #: How many assertions are around the node.
    _assertions = 0

    def visit_Assert(self, node: cst.Assert) -> None:  # noqa: N802 (as in LibCST)
        self._assertions += 1

    def leave_Assert(  # noqa: N802
        self, original_node: cst.Assert, updated_node: cst.Assert
    ) -> cst.Assert:
        self._assertions -= 1
        return updated_node

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802
        self._assertions += _is_assertion(node)

    def leave_Call(  # noqa: N802
        self, original_node: cst.Call, updated_node: cst.Call
    ) -> cst.BaseExpression:
        self._assertions -= _is_assertion(original_node)
        return self._evaluated(original_node, updated_node)

    def leave_Subscript(  # noqa: N802
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        return self._evaluated(original_node, updated_node)

    def _evaluated(
        self, original: cst.Call | cst.Subscript, updated: cst.Call | cst.Subscript
    ) -> cst.BaseExpression:
        target = self.targets.of(original, Kind.EVALUATION)
        if target is None or self._assertions:
            return updated
        self.done.add(target)
        return self.known.constant(target.result, updated)

    def leave_FormattedStringExpression(  # noqa: N802
        self,
        original_node: cst.FormattedStringExpression,
        updated_node: cst.FormattedStringExpression,
    ) -> cst.FormattedStringExpression:
        """Keeps `{ {1} }` apart from `{{`, which stands for a bracket."""
        code = cst.Module([]).code_for_node(updated_node)
        is_bracket = code.startswith("{{") and original_node is not updated_node
        space = cst.SimpleWhitespace(" ")
        return (
            updated_node.with_changes(whitespace_before_expression=space)
            if is_bracket
            else updated_node
        )

    def leave_Name(  # noqa: N802
        self, original_node: cst.Name, updated_node: cst.Name
    ) -> cst.BaseExpression:
        result = self.variables.uses.get(original_node)
        return updated_node if result is None else self.known.constant(result, updated_node)

    def leave_Assign(  # noqa: N802
        self, original_node: cst.Assign, updated_node: cst.Assign
    ) -> cst.Assign | cst.RemovalSentinel:
        if original_node in self.variables.assignments:
            return cst.RemoveFromParent()
        self._leave_variable(original_node.value)
        return updated_node

    def leave_AnnAssign(  # noqa: N802
        self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign
    ) -> cst.AnnAssign | cst.RemovalSentinel:
        if original_node in self.variables.assignments:
            return cst.RemoveFromParent()
        if original_node.value is not None:
            self._leave_variable(original_node.value)
        return updated_node

    def leave_NamedExpr(  # noqa: N802
        self, original_node: cst.NamedExpr, updated_node: cst.NamedExpr
    ) -> cst.NamedExpr:
        self._leave_variable(original_node.value)
        return updated_node

    def _leave_variable(self, value: cst.BaseExpression) -> None:
        """The code that uses the variable is left to a person, so the place stays listed."""
        found = evaluation_in(value, self.targets)
        if found is not None:
            self.done.discard(found[0])

    def leave_Await(  # noqa: N802
        self, original_node: cst.Await, updated_node: cst.Await
    ) -> cst.BaseExpression:
        return self.known.awaited(updated_node)

    def leave_UnaryOperation(  # noqa: N802
        self, original_node: cst.UnaryOperation, updated_node: cst.UnaryOperation
    ) -> cst.BaseExpression:
        return self.known.negated(updated_node)

    def leave_BooleanOperation(  # noqa: N802
        self, original_node: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BaseExpression:
        return self.known.combined(updated_node)

    def leave_IfExp(  # noqa: N802
        self, original_node: cst.IfExp, updated_node: cst.IfExp
    ) -> cst.BaseExpression:
        return self.known.chosen(updated_node)


def _is_assertion(node: cst.Call) -> bool:
    """Returns True for `self.assertTrue(…)` and the like."""
    return isinstance(node.func, cst.Attribute) and node.func.attr.value.startswith("assert")
