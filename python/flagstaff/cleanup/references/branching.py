"""Branches whose condition is known take the place of their `if`."""

from __future__ import annotations

import libcst as cst

from flagstaff.cleanup.references.branches import (
    changes_function,
    spliced,
    without_dead_code,
    without_lines,
)
from flagstaff.cleanup.references.targets import Targets
from flagstaff.cleanup.references.transforming import SmallStatement, Transformer
from flagstaff.cleanup.references.variables import Variables


class ResolvesBranches(Transformer):
    """Resolves `if` statements, and the conditions of comprehensions."""

    def __init__(
        self, targets: Targets, variables: Variables, *, keeps_brackets: bool = False
    ) -> None:
        super().__init__(targets, variables, keeps_brackets=keeps_brackets)
        #: The last statements of branches that took the place of their `if`.
        self._ends: set[cst.CSTNode] = set()
        self._elifs: set[cst.CSTNode] = set()
        #: Lines that are gone, but for their comments.
        self._gone: set[cst.CSTNode] = set()

    def visit_If(self, node: cst.If) -> None:  # noqa: N802
        if isinstance(node.orelse, cst.If):
            self._elifs.add(node.orelse)

    def leave_If(  # noqa: N802
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        updated = self.known.with_simple_test(updated_node)
        updated = updated.with_changes(orelse=self._simple_orelse(updated.orelse))
        result = self.known.of(updated.test)
        if result is None or original_node in self._elifs:
            return updated
        body, orelse = updated.body, updated.orelse
        if changes_function(orelse, body) if result else changes_function(body, orelse):
            return updated
        branch = updated.body if result else getattr(updated.orelse, "body", None)
        if not result and isinstance(updated.orelse, cst.If):
            # The first `elif` becomes the `if`.
            lines = [*updated.leading_lines, *updated.orelse.leading_lines]
            return updated.orelse.with_changes(leading_lines=lines)
        if branch is None:
            return cst.RemoveFromParent()
        above = () if result else getattr(updated.orelse, "leading_lines", ())
        statements = spliced(branch, [*updated.leading_lines, *above])
        if statements is None:
            return updated
        self._ends.add(statements[-1])
        return cst.FlattenSentinel(statements)

    def _simple_orelse(self, orelse: cst.If | cst.Else | None) -> cst.If | cst.Else | None:
        if not isinstance(orelse, cst.If):
            return orelse
        result = self.known.of(orelse.test)
        if result is None:
            return orelse
        body, rest = orelse.body, orelse.orelse
        if changes_function(rest, body) if result else changes_function(body, rest):
            return orelse
        if not result:
            return orelse.orelse
        return cst.Else(body=orelse.body, leading_lines=orelse.leading_lines)

    # Lines.

    def leave_Expr(self, original_node: cst.Expr, updated_node: cst.Expr) -> SmallStatement:  # noqa: N802
        is_known = self.known.of(updated_node.value) is not None
        return cst.RemoveFromParent() if is_known else updated_node

    def leave_SimpleStatementLine(  # noqa: N802
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        """Keeps the place of a removed line with comments above, until its block ends."""
        has_comments = any(line.comment is not None for line in updated_node.leading_lines)
        if updated_node.body or not has_comments:
            return updated_node
        line = updated_node.with_changes(body=[cst.Pass()])
        self._gone.add(line)
        return line

    def leave_IndentedBlock(  # noqa: N802
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.BaseSuite:
        block = without_dead_code(updated_node, self._ends)
        return without_lines(block, self._gone) if self._gone else block

    def leave_Module(  # noqa: N802
        self, original_node: cst.Module, updated_node: cst.Module
    ) -> cst.Module:
        return without_lines(updated_node, self._gone) if self._gone else updated_node

    def leave_CompFor(  # noqa: N802
        self, original_node: cst.CompFor, updated_node: cst.CompFor
    ) -> cst.CompFor:
        kept = [one for one in updated_node.ifs if self.known.of(one.test) is not True]
        return updated_node.with_changes(ifs=kept)
