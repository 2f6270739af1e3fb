"""Imports of flagstaff and of constants that a module needs no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import libcst as cst

from flagstaff.cleanup.references.naming import dotted
from flagstaff.cleanup.references.unused import Unused

__all__ = ["without_unused_imports"]


_Block: TypeAlias = cst.Module | cst.IndentedBlock


def without_unused_imports(
    before: cst.Module, after: cst.Module, unused: Unused | None
) -> cst.Module:
    """Removes the imported names of flagstaff, and of constants, that are no longer used.

    Those that another file takes from this module stay.
    """
    gone = _used(before) - _used(after)
    return after.visit(_Remover(gone, unused)) if gone else after


class _Names(cst.CSTVisitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def visit_Name(self, node: cst.Name) -> None:  # noqa: N802 (as in LibCST)
        self.names.add(node.value)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:  # noqa: N802
        # A name may be in `__all__` or in an annotation.
        self.names.add(node.value.strip("\"'"))

    def visit_Import(self, node: cst.Import) -> bool:  # noqa: N802
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:  # noqa: N802
        return False


class _Remover(cst.CSTTransformer):
    def __init__(self, gone: set[str], unused: Unused | None) -> None:
        super().__init__()
        self._gone = gone
        self._unused = unused
        self._removed: set[cst.CSTNode] = set()

    def leave_Module(  # noqa: N802 (as in LibCST)
        self, original_node: cst.Module, updated_node: cst.Module
    ) -> cst.Module:
        return updated_node.with_changes(**self._moved(original_node, updated_node))

    def leave_IndentedBlock(  # noqa: N802
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.BaseSuite:
        return updated_node.with_changes(**self._moved(original_node, updated_node))

    def _moved(self, original: _Block, updated: _Block) -> dict[str, Sequence[cst.CSTNode]]:
        """Keeps comments above a removed import, and the blank line of a group of imports."""
        if len(original.body) == len(updated.body):
            return {}
        kept, body = iter(updated.body), list[cst.CSTNode]()
        above: tuple[cst.EmptyLine, ...] = ()
        for line in original.body:
            if isinstance(line, cst.SimpleStatementLine) and self._removed.issuperset(line.body):
                above = (*above, *line.leading_lines) if _is_comment(line) else above
                above = above or _blank(line)
                continue
            statement = next(kept)
            has_comment = any(one.comment is not None for one in above)
            lines: Sequence[cst.EmptyLine] = getattr(statement, "leading_lines", ())
            if above and (has_comment or not lines):
                statement = statement.with_changes(leading_lines=[*above, *lines])
            body.append(statement)
            above = ()
        return {"body": body, "footer": [*above, *updated.footer]}

    def leave_ImportFrom(  # noqa: N802
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.RemovalSentinel:
        names = updated_node.names
        module = updated_node.module
        if isinstance(names, cst.ImportStar):
            return updated_node
        is_ours = module is not None and _is_ours(module)
        kept = [
            one
            for one in names
            if not (self._goes(_bound(one)) and (is_ours or self._is_constant(updated_node, one)))
        ]
        if not kept:
            self._removed.add(original_node)
            return cst.RemoveFromParent()
        if len(kept) == len(names):
            return updated_node
        if not isinstance(names[-1].comma, cst.Comma):
            kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(names=kept)

    def leave_Import(  # noqa: N802
        self, original_node: cst.Import, updated_node: cst.Import
    ) -> cst.Import | cst.RemovalSentinel:
        kept = [
            one
            for one in updated_node.names
            if not (_is_ours(one.name) and self._goes(_bound(one).partition(".")[0]))
        ]
        if not kept:
            self._removed.add(original_node)
            return cst.RemoveFromParent()
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(names=kept)

    def _goes(self, name: str) -> bool:
        return name in self._gone and not (self._unused and self._unused.is_needed(name))

    def _is_constant(self, node: cst.ImportFrom, alias: cst.ImportAlias) -> bool:
        return self._unused is not None and self._unused.is_constant(node, dotted(alias.name))


def _is_comment(line: cst.SimpleStatementLine) -> bool:
    return any(one.comment is not None for one in line.leading_lines)


def _blank(line: cst.SimpleStatementLine) -> tuple[cst.EmptyLine, ...]:
    return tuple(one for one in line.leading_lines if one.comment is None)[:1]


def _used(module: cst.Module) -> set[str]:
    visitor = _Names()
    module.visit(visitor)
    return visitor.names


def _bound(alias: cst.ImportAlias) -> str:
    name = alias.evaluated_alias or alias.evaluated_name
    return str(name)


def _is_ours(node: cst.BaseExpression) -> bool:
    while isinstance(node, cst.Attribute):
        node = node.value
    return isinstance(node, cst.Name) and node.value == "flagstaff"
