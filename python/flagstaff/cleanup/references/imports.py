"""Imports of flagstaff that a module needs no more."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

__all__ = ["without_unused_imports"]


def without_unused_imports(
    before: cst.Module, after: cst.Module, is_needed: Callable[[str], bool]
) -> cst.Module:
    """Removes the imported names of flagstaff that were used before and are not used any more.

    `is_needed` says whether another file takes a name from this module.
    """
    gone = _used(before) - _used(after)
    return after.visit(_Remover(gone, is_needed)) if gone else after


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
    def __init__(self, gone: set[str], is_needed: Callable[[str], bool]) -> None:
        super().__init__()
        self._gone = gone
        self._is_needed = is_needed
        self._removed: set[cst.CSTNode] = set()

    def leave_Module(  # noqa: N802 (as in LibCST)
        self, original_node: cst.Module, updated_node: cst.Module
    ) -> cst.Module:
        """Keeps comments above a removed import, and the blank line of a group of imports."""
        kept, body = iter(updated_node.body), []
        above: tuple[cst.EmptyLine, ...] = ()
        for line in original_node.body:
            if isinstance(line, cst.SimpleStatementLine) and self._removed.issuperset(line.body):
                above = (*above, *line.leading_lines) if _is_comment(line) else above
                above = above or _blank(line)
                continue
            statement = next(kept)
            has_comment = any(one.comment is not None for one in above)
            if above and (has_comment or not statement.leading_lines):
                lines = [*above, *statement.leading_lines]
                statement = statement.with_changes(leading_lines=lines)
            body.append(statement)
            above = ()
        return updated_node.with_changes(body=body, footer=[*above, *updated_node.footer])

    def leave_ImportFrom(  # noqa: N802
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.RemovalSentinel:
        names = updated_node.names
        module = updated_node.module
        if isinstance(names, cst.ImportStar) or module is None or not _is_ours(module):
            return updated_node
        kept = [one for one in names if not self._goes(_bound(one))]
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
        return name in self._gone and not self._is_needed(name)


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
