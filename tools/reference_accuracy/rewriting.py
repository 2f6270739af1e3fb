"""Rewrites one Python file from django-waffle to flagstaff, and notes the places with a key."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.reference_accuracy.calls import key_of, new_arguments
from tools.reference_accuracy.edits import Edit, Edited, Lines, edited
from tools.reference_accuracy.imports import import_edits, local_name
from tools.reference_accuracy.names import ATTRIBUTES, MODULES, REPLACED, bindings, qualified

__all__ = ["Found", "Rewritten", "rewritten"]

# In texts: the target of a mock.
_MOCKED = re.compile(rb"\bwaffle\.(?:flag|switch|sample)_is_active\b")


@dataclass(frozen=True)
class Found:
    """A place before its key is resolved."""

    node: ast.AST
    kind: str
    #: The expression of the key, of the file before the edits.
    key: ast.expr


@dataclass
class Rewritten:
    """A rewritten file."""

    result: Edited
    tree: ast.Module
    found: list[Found]
    lines: Lines

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Returns the first and the last line of a node after the edits."""
        first = self.lines.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        end = self.lines.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return self.result.line(first), self.result.line(end)


def rewritten(text: bytes) -> Rewritten | None:
    """Returns the rewritten file, or None if it does not use django-waffle.

    Raises SyntaxError if this Python cannot parse the file.
    """
    if b"waffle" not in text:
        return None
    tree = ast.parse(text)
    file = _File(text, tree)
    file.visit(tree)
    file.rename_others()
    file.edits += import_edits(tree, file.lines, file.kept)
    file.edits += file.mocks()
    if not file.edits:
        return None
    return Rewritten(edited(text, file.edits), tree, file.found, file.lines)


@dataclass
class _File(ast.NodeVisitor):
    text: bytes
    tree: ast.Module
    edits: list[Edit] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    #: Local names of modules that other code of the file still uses.
    kept: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.lines = Lines(self.text)
        self.names = bindings(self.tree)
        self._replaced: set[ast.AST] = set()

    def visit_Call(self, node: ast.Call) -> None:
        full = qualified(node.func, self.names)
        arguments = new_arguments(full, node, self._source) if full in REPLACED else None
        if full is None or arguments is None:
            self._visit_mock(node)
            self.generic_visit(node)
            return
        key = key_of(full, node)
        assert key is not None  # noqa: S101 (it has arguments)
        self._rename(node.func, full)
        last = [*node.args, *(k.value for k in node.keywords)]
        start = min(self._start(a) for a in [*node.args, *node.keywords])
        self.edits.append(Edit(start, max(self._end(a) for a in last), arguments.encode()))
        self.found.append(Found(node, REPLACED[full][0], key))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [full for base in node.bases if (full := qualified(base, self.names))]
        attributes = {ATTRIBUTES[full] for full in bases if full in ATTRIBUTES}
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                target = statement.targets[0]
                if target.id in attributes:
                    self._replace(target, "flag_key")
                    self.found.append(Found(statement, "mixin", statement.value))
        self.generic_visit(node)

    def rename_others(self) -> None:
        """Renames what is not called, such as base classes, and notes what stays as it is."""
        for node in ast.walk(self.tree):
            if node in self._replaced or not isinstance(node, (ast.Name, ast.Attribute)):
                continue
            full = qualified(node, self.names)
            if full is not None and full in REPLACED:
                self._rename(node, full)
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Name) or node in self._replaced:
                continue
            if self.names.get(node.id) in MODULES:
                self.kept.add(node.id)

    def mocks(self) -> Iterator[Edit]:
        """Yields the edits of texts that name a function, such as targets of mocks."""
        replaced = [(e.start, e.end) for e in self.edits]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                start, end = self._start(node), self._end(node)
                if any(s < end and start < e for s, e in replaced) or "\n" in node.value:
                    continue
                old = self.text[start:end]
                new = _MOCKED.sub(b"flagstaff.flag_enabled", old)
                if new != old:
                    yield Edit(start, end, new)

    def _visit_mock(self, node: ast.Call) -> None:
        """Rewrites `mock.patch.object(waffle, "switch_is_active")`."""
        if not (isinstance(node.func, ast.Attribute) and node.func.attr == "object"):
            return
        match node.args:
            case [module, ast.Constant(value=str(name)) as constant, *_]:
                full = f"{qualified(module, self.names)}.{name}"
                if full in REPLACED:
                    self._replace(constant, f'"{local_name(full)}"')
                    self._replace_root(module)

    def _rename(self, func: ast.expr, full: str) -> None:
        if isinstance(func, ast.Name):
            self._replaced.add(func)
            if func.id == full.rpartition(".")[2]:
                self._replace(func, local_name(full))
            return
        assert isinstance(func, ast.Attribute)  # noqa: S101 (it has a full name)
        self._replace_root(func.value)
        self._replaced.add(func)
        end = self._end(func)
        start = end - len(func.attr.encode())
        self.edits.append(Edit(start, end, local_name(full).encode()))

    def _replace_root(self, module: ast.expr) -> None:
        """Replaces `waffle` or `waffle.testutils`. A name given by `as` stays."""
        full = qualified(module, self.names) or ""
        self._replaced.update(ast.walk(module))
        root = module
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or full not in MODULES:
            return
        if root.id == "waffle":
            self._replace(module, MODULES[full])
        elif isinstance(module, ast.Attribute):
            self._replace(module, f"{root.id}.{MODULES[full].rpartition('.')[2]}")

    def _replace(self, node: ast.expr, new: str) -> None:
        self._replaced.add(node)
        self.edits.append(Edit(self._start(node), self._end(node), new.encode()))

    def _source(self, node: ast.expr) -> str:
        return self.text[self._start(node) : self._end(node)].decode()

    def _start(self, node: ast.AST) -> int:
        return self.lines.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def _end(self, node: ast.AST) -> int:
        return self.lines.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
