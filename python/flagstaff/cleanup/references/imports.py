"""Imports that a patched module needs no more, of flagstaff and of constants."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import libcst as cst

from flagstaff.cleanup.references.files import LimitError, read
from flagstaff.cleanup.references.naming import dotted, imported_module
from flagstaff.cleanup.references.project import Project, module_name

# What a module of constants may contain besides assignments: nothing that runs code of the project.
_PLAIN = (ast.Pass, ast.FunctionDef, ast.AsyncFunctionDef)
_PLAIN_CALLS = frozenset({"auto", "frozenset", "set", "tuple", "dict", "list", "_", "gettext_lazy"})
_PLAIN_BASES = frozenset(
    {"Enum", "Flag", "IntEnum", "IntFlag", "IntegerChoices", "StrEnum", "TextChoices"}
    | {"int", "object", "str"}
)
_PLAIN_IMPORTS = ("__future__", "enum", "typing", "types", "django.db.models", "django.utils")


class Unused:
    """Decides about the imported names of one file."""

    def __init__(self, project: Project, path: str) -> None:
        self._project = project
        self._path = path

    def is_needed(self, name: str) -> bool:
        """Returns True if another file may take the name from this one."""
        return self._project.is_imported(self._path, name)

    def is_constant(self, node: cst.ImportFrom, name: str) -> bool:
        """Returns True for a name that comes from a module of constants of the project.

        The import of any other module may do more than to bind a name.
        """
        own = module_name(self._path)
        module = imported_module(node, own, self._path)
        full = f"{module}.{name}"
        parts = (full if self._project.path_of(full) is not None else module).split(".")
        paths = [self._project.path_of(".".join(parts[: end + 1])) for end in range(len(parts))]
        if paths[-1] is None:
            return False
        # The packages around this file are imported anyway.
        around = {str(parent / "__init__.py") for parent in Path(self._path).parents}
        return all(
            self._is_plain(path) for path in paths if path is not None and path not in around
        )

    @staticmethod
    def _is_plain(path: str) -> bool:
        try:
            tree = ast.parse(read(path))
        except (OSError, LimitError, SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return all(map(_is_plain, tree.body))


def _is_plain(node: ast.stmt) -> bool:
    match node:
        case ast.Expr():
            return isinstance(node.value, ast.Constant)
        case ast.ImportFrom():
            return not node.level and (node.module or "").startswith(_PLAIN_IMPORTS)
        case ast.Import():
            return all(name.name.startswith(_PLAIN_IMPORTS) for name in node.names)
        case ast.Assign() | ast.AnnAssign():
            return node.value is None or _is_plain_value(node.value)
        case ast.ClassDef():
            bases = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
            is_bare = not node.decorator_list and not node.keywords
            return is_bare and bases <= _PLAIN_BASES and all(map(_is_plain, node.body))
        case _:
            return isinstance(node, _PLAIN) and not getattr(node, "decorator_list", ())


def _is_plain_value(node: ast.expr) -> bool:
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
    return all(isinstance(call.func, ast.Name) and call.func.id in _PLAIN_CALLS for call in calls)


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
            name
            for name in names
            if not (self._goes(_bound(name)) and (is_ours or self._is_constant(updated_node, name)))
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
            name
            for name in updated_node.names
            if not (_is_ours(name.name) and self._goes(_bound(name).partition(".")[0]))
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
