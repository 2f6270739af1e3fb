"""Rewrites the imports of one file, so that it still compiles and runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.reference_accuracy.edits import Edit, Lines
from tools.reference_accuracy.names import MODULES, REPLACED

__all__ = ["import_edits", "local_name"]


def local_name(full: str) -> str:
    """Returns the name that replaces a member of django-waffle imported by `from`."""
    return REPLACED[full][1].rpartition(".")[2]


def import_edits(tree: ast.Module, lines: Lines, kept: set[str]) -> Iterator[Edit]:
    """Yields the edits of all imports. `kept` has the names that are still django-waffle's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(a.name in MODULES for a in node.names):
            new = _plain(node, kept)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES and not node.level:
            new = _members(node)
        else:
            continue
        start = lines.offset(node.lineno, node.col_offset)
        end = lines.offset(node.end_lineno or 0, node.end_col_offset or 0)
        # On one line: the statement may follow `if …:` or stand before a comment.
        yield Edit(start, end, "; ".join(new).encode())


def _plain(node: ast.Import, kept: set[str]) -> list[str]:
    statements = []
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        suffix = f" as {alias.asname}" if alias.asname else ""
        if alias.name not in MODULES:
            statements.append(f"import {alias.name}{suffix}")
            continue
        if bound in kept:
            statements.append(f"import {alias.name}{suffix}")
            suffix = f" as flagstaff_{alias.asname}" if alias.asname else ""
        statements.append(f"import {MODULES[alias.name]}{suffix}")
    return statements


def _members(node: ast.ImportFrom) -> list[str]:
    ours: list[str] = []
    theirs: list[str] = []
    for alias in node.names:
        full = f"{node.module}.{alias.name}"
        suffix = f" as {alias.asname}" if alias.asname else ""
        if alias.name == "*":
            ours.append("*")
        elif full in REPLACED:
            ours.append(local_name(full) + suffix)
        elif full in MODULES:
            ours.append(MODULES[full].rpartition(".")[2] + f" as {alias.asname or alias.name}")
        else:
            theirs.append(alias.name + suffix)
    statements = [f"from {node.module} import {', '.join(theirs)}"] if theirs else []
    if ours:
        module = MODULES[node.module or ""]
        statements.append(f"from {module} import {', '.join(dict.fromkeys(ours))}")
    return statements
