"""Rewrites switches of edx-toggles, objects around a switch of django-waffle, to django-waffle.

NEW_SLUGS = WaffleSwitch("courses.new_slugs", __name__)     NEW_SLUGS = "courses.new_slugs"
NEW_SLUGS.is_enabled()                                      waffle.switch_is_active(NEW_SLUGS)
override_waffle_switch(NEW_SLUGS, False)                    override_switch(NEW_SLUGS, False)
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

from tools.reference_accuracy.edits import Edit, Lines, edited

__all__ = ["rewrite_switches", "switches_in", "without_switches"]

_CLASS, _OVERRIDE = "WaffleSwitch", "override_waffle_switch"
_MODULES = {
    "edx_toggles.toggles": (_CLASS, ""),
    "edx_toggles.toggles.testutils": (
        _OVERRIDE,
        "from waffle.testutils import override_switch",
    ),
}


def rewrite_switches(files: Iterable[Path]) -> None:
    """Rewrites the files in place."""
    texts = {file: file.read_bytes() for file in files}
    names = {name for text in texts.values() for name in switches_in(text)}
    for file, text in texts.items():
        if any(name.encode() in text for name in names):
            new = without_switches(text, names)
            if new != text:
                file.write_bytes(new)


def switches_in(text: bytes) -> set[str]:
    """Returns the names of the constants that are switches."""
    if _CLASS.encode() not in text:
        return set()
    assigned = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assign))
    return {
        target.id
        for node in assigned
        if _calls(node.value, _CLASS)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def without_switches(text: bytes, names: set[str]) -> bytes:
    """Returns a file with the switches called `names` as constants and calls of django-waffle."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    edits = list(_edits(tree, names, text, Lines(text)))
    if any(edit.new.startswith(b"waffle.") for edit in edits) and b"\nimport waffle" not in text:
        start = Lines(text).offset(_first_import(tree).lineno, 0)
        edits.append(Edit(start, start, b"import waffle\n"))
    return edited(text, edits).text


def _edits(tree: ast.Module, names: set[str], text: bytes, lines: Lines) -> Iterator[Edit]:
    def edit(node: ast.expr | ast.stmt, new: bytes) -> Edit:
        start, end = _span(node, lines)
        return Edit(start, end, new)

    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            if (statement := _import(node)) is not None:
                yield edit(node, statement.encode())
        elif _calls(node, _OVERRIDE):
            yield edit(node.func, b"override_switch")
        elif _calls(node, _CLASS):
            start, end = _span(node.args[0], lines)
            yield edit(node, text[start:end])
        elif _calls(node, "is_enabled") and isinstance(node.func, ast.Attribute):
            start, end = _span(node.func.value, lines)
            name = text[start:end]
            if name.rpartition(b".")[2].decode() in names:
                yield edit(node, b"waffle.switch_is_active(" + name + b")")


def _first_import(tree: ast.Module) -> ast.stmt:
    """Returns the first import after those from `__future__`."""
    imports = (node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
    return next(n for n in imports if getattr(n, "module", None) != "__future__")


def _import(node: ast.ImportFrom) -> str | None:
    """Returns the statements that replace an import, or None if it stays."""
    name, replacement = _MODULES[node.module or ""]
    others = [alias.name for alias in node.names if alias.name != name]
    if len(others) == len(node.names):
        return None
    kept = f"from {node.module} import {', '.join(others)}" if others else ""
    return "; ".join(filter(None, [kept, replacement])) or "pass"


def _calls(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call):
        return False
    func = node.func
    return (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")) == name


def _span(node: ast.expr | ast.stmt, lines: Lines) -> tuple[int, int]:
    start = lines.offset(node.lineno, node.col_offset)
    return start, lines.offset(node.end_lineno or 0, node.end_col_offset or 0)
