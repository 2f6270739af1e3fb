"""Imports of flagstaff that a module needs no more."""

from __future__ import annotations

import libcst as cst

__all__ = ["without_unused_imports"]


def without_unused_imports(before: cst.Module, after: cst.Module) -> cst.Module:
    """Removes the imported names of flagstaff that were used before and are not used any more."""
    gone = _used(before) - _used(after)
    return after.visit(_Remover(gone)) if gone else after


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
    def __init__(self, gone: set[str]) -> None:
        super().__init__()
        self._gone = gone
        self._removed: set[cst.CSTNode] = set()

    def leave_Module(  # noqa: N802 (as in LibCST)
        self, original_node: cst.Module, updated_node: cst.Module
    ) -> cst.Module:
        """Keeps a blank line above a removed import, which begins a group of imports."""
        kept, body = iter(updated_node.body), []
        blank: tuple[cst.EmptyLine, ...] = ()
        for line in original_node.body:
            if isinstance(line, cst.SimpleStatementLine) and self._removed.issuperset(line.body):
                blank = blank or _blank(line)
                continue
            statement = next(kept)
            if blank and not statement.leading_lines:
                statement = statement.with_changes(leading_lines=blank)
            body.append(statement)
            blank = ()
        return updated_node.with_changes(body=body)

    def leave_ImportFrom(  # noqa: N802
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.RemovalSentinel:
        names = updated_node.names
        module = updated_node.module
        if isinstance(names, cst.ImportStar) or module is None or not _is_ours(module):
            return updated_node
        kept = [one for one in names if _bound(one) not in self._gone]
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
            if not (_is_ours(one.name) and _bound(one).partition(".")[0] in self._gone)
        ]
        if not kept:
            self._removed.add(original_node)
            return cst.RemoveFromParent()
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(names=kept)


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
