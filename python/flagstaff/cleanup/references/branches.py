"""Branches whose condition is known take the place of their `if` or `with`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import libcst as cst

from flagstaff.cleanup.references.targets import Targets
from flagstaff.cleanup.references.transforming import SmallStatement, Transformer
from flagstaff.cleanup.references.variables import Variables

_Lines = TypeVar("_Lines", cst.IndentedBlock, cst.Module)
_ENDS = (cst.Return, cst.Raise, cst.Continue, cst.Break)
# They say something about the whole function, wherever they are in it.
_YIELDS = (cst.Yield,)
_DECLARATIONS = (cst.Global, cst.Nonlocal)
# Comments for tools, about a line that is gone.
_FOR_TOOLS = ("# noqa", "# pragma", "# type:", "# pylint")


def spliced(
    body: cst.BaseSuite, leading_lines: Sequence[cst.EmptyLine]
) -> list[cst.BaseStatement] | None:
    """Returns the statements of a branch, with the comments above and beside its condition.

    Returns None for comments at the end of the branch, which have no other place.
    """
    if isinstance(body, cst.SimpleStatementSuite):
        line = cst.SimpleStatementLine(
            body.body, leading_lines=leading_lines, trailing_whitespace=body.trailing_whitespace
        )
        return [line]
    if not isinstance(body, cst.IndentedBlock):
        return None
    if any(line.comment is not None for line in body.footer):
        return None
    first, *others = body.body
    lines = [*leading_lines]
    comment = body.header.comment
    if comment is not None and not comment.value.startswith(_FOR_TOOLS):
        lines.append(cst.EmptyLine(comment=comment))
    above = getattr(first, "leading_lines", ())
    changed = first.with_changes(leading_lines=[*lines, *above])
    return [changed, *others]


def without_dead_code(block: cst.IndentedBlock, ends: Collection[cst.CSTNode]) -> cst.IndentedBlock:
    """Removes what follows a spliced branch that returns, raises, or leaves the loop."""
    for index, statement in enumerate(block.body[:-1]):
        if statement in ends and _leaves(statement):
            rest = block.body[index + 1 :]
            if not any(_has(one, (*_YIELDS, *_DECLARATIONS)) for one in rest):
                return block.with_changes(body=block.body[: index + 1])
    return block


def without_lines(block: _Lines, gone: Collection[cst.CSTNode]) -> _Lines:
    """Removes lines, and moves the comments above them to what follows."""
    body: list[cst.BaseStatement] = []
    comments: list[cst.EmptyLine] = []
    for statement in block.body:
        above: Sequence[cst.EmptyLine] = getattr(statement, "leading_lines", ())
        if statement in gone:
            comments += above
        elif comments:
            body.append(statement.with_changes(leading_lines=[*comments, *above]))
            comments = []
        else:
            body.append(statement)
    return block.with_changes(body=body, footer=[*comments, *block.footer])


def changes_function(removed: cst.CSTNode | None, kept: cst.CSTNode | None) -> bool:
    """Whether a function may be no generator, or have other variables, without a branch."""
    if removed is None:
        return False
    if _has(removed, _DECLARATIONS):
        return True
    return _has(removed, _YIELDS) and not (kept is not None and _has(kept, _YIELDS))


def _leaves(statement: cst.CSTNode) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[-1], _ENDS)


class _Finder(cst.CSTVisitor):
    def __init__(self, types: tuple[type[cst.CSTNode], ...]) -> None:
        super().__init__()
        self._types = types
        self.found = False

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.found = self.found or isinstance(node, self._types)
        return not isinstance(node, cst.FunctionDef | cst.Lambda)


def _has(statement: cst.CSTNode, types: tuple[type[cst.CSTNode], ...]) -> bool:
    visitor = _Finder(types)
    statement.visit(visitor)
    return visitor.found


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
