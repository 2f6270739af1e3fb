"""The statements of a branch in the place of its `if` or `with`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import libcst as cst

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
