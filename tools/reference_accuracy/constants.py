"""Resolves the expression of a key to its text, over all modules of a code base.

Simple on purpose, and independent of the search that it judges: names with one assignment, class
attributes, members of enums, Django's settings, and imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from tools.reference_accuracy.codebase import CodeBase

__all__ = ["Constants"]

_DEPTH = 8
_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Constants:
    """Resolves expressions of the modules of a code base."""

    def __init__(self, code: CodeBase) -> None:
        self.code = code
        self._parents: dict[PurePosixPath, dict[ast.AST, ast.AST]] = {}

    def key(self, node: ast.expr, module: PurePosixPath, tree: ast.Module) -> str | None:
        """Returns the text of an expression, or None if it is built at run time."""
        parents = self._parents.get(module)
        if parents is None:
            parents = {c: p for p in ast.walk(tree) for c in ast.iter_child_nodes(p)}
            self._parents[module] = parents
        if isinstance(node, ast.Name):
            for scope in _enclosing(node, parents):
                if isinstance(scope, _Function) and _has_parameter(scope, node.id):
                    return None
                if values := list(_assigned(scope, node.id)):
                    return self._only(values, module, tree, _DEPTH)
        return self._resolve(node, module, tree, _DEPTH)

    def _resolve(
        self, node: ast.expr, module: PurePosixPath, tree: ast.Module, depth: int
    ) -> str | None:
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if not depth or not isinstance(node, (ast.Name, ast.Attribute)):
            return None
        if isinstance(node, ast.Name):
            return self._member(node.id, module, tree, depth - 1)
        return self._attribute(node, module, tree, depth - 1)

    def _member(self, name: str, module: PurePosixPath, tree: ast.Module, depth: int) -> str | None:
        """Returns the text of a name of a module."""
        if values := list(_assigned(tree, name)):
            return self._only(values, module, tree, depth)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name or alias.name == "*":
                        original = name if alias.name == "*" else alias.name
                        found = self._imported(node, original, module, depth)
                        if found is not None:
                            return found
        return None

    def _imported(
        self, node: ast.ImportFrom, name: str, module: PurePosixPath, depth: int
    ) -> str | None:
        other = self.code.find(node.module or "", node.level, module)
        tree = self.code.tree(other) if other is not None and depth else None
        return self._member(name, other, tree, depth - 1) if other and tree else None

    def _attribute(
        self, node: ast.Attribute, module: PurePosixPath, tree: ast.Module, depth: int
    ) -> str | None:
        if node.attr == "value" and isinstance(node.value, ast.Attribute):
            return self._attribute(node.value, module, tree, depth)
        if not isinstance(node.value, ast.Name):
            dotted = ast.unparse(node.value)
            return self._of_module(dotted, node.attr, module, depth)
        owner = node.value.id
        if owner == "settings":
            return self._setting(node.attr, depth)
        found = self._of_class(owner, node.attr, module, tree, depth)
        if found is not None:
            return found
        return self._of_imported(owner, node.attr, module, tree, depth)

    def _of_imported(
        self, owner: str, name: str, module: PurePosixPath, tree: ast.Module, depth: int
    ) -> str | None:
        """Resolves `owner.name`, if `owner` is an imported class or module."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if (alias.asname or alias.name) == owner:
                        return self._of_module(alias.name, name, module, depth)
            if not isinstance(node, ast.ImportFrom) or not depth:
                continue
            for alias in node.names:
                if (alias.asname or alias.name) != owner:
                    continue
                dotted = f"{node.module}.{alias.name}" if node.module else alias.name
                if other := self.code.find(dotted, node.level, module):
                    tree_of = self.code.tree(other)
                    return self._member(name, other, tree_of, depth - 1) if tree_of else None
                if other := self.code.find(node.module or "", node.level, module):
                    tree_of = self.code.tree(other)
                    return (
                        self._of_class(alias.name, name, other, tree_of, depth - 1)
                        if tree_of
                        else None
                    )
        return None

    def _of_module(self, dotted: str, name: str, importer: PurePosixPath, depth: int) -> str | None:
        other = self.code.find(dotted, 0, importer)
        tree = self.code.tree(other) if other else None
        return self._member(name, other, tree, depth) if other and tree else None

    def _of_class(
        self, owner: str, name: str, module: PurePosixPath, tree: ast.Module, depth: int
    ) -> str | None:
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or node.name != owner:
                continue
            if values := list(_assigned(node, name)):
                return self._only(values, module, tree, depth)
        return None

    def _setting(self, name: str, depth: int) -> str | None:
        values = set()
        for module in self.code.settings():
            tree = self.code.tree(module)
            for value in _assigned(tree, name) if tree else ():
                values.add(self._resolve(value, module, tree, depth) if tree else None)
        return values.pop() if len(values) == 1 else None

    def _only(
        self, values: list[ast.expr], module: PurePosixPath, tree: ast.Module, depth: int
    ) -> str | None:
        """Returns the text if all assignments have the same one."""
        texts = {self._resolve(value, module, tree, depth) for value in values}
        return texts.pop() if len(texts) == 1 else None


def _enclosing(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        if isinstance(node, (*_Function, ast.ClassDef)):
            yield node


def _has_parameter(function: ast.AST, name: str) -> bool:
    arguments: ast.arguments = function.args  # type: ignore[attr-defined]
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return any(argument.arg == name for argument in every)


def _assigned(scope: ast.AST, name: str) -> Iterator[ast.expr]:
    """Yields what is assigned to a name directly in a scope, with loops as themselves."""
    body = getattr(scope, "body", [])
    stack = list(body) if isinstance(body, list) else []
    while stack:
        node = stack.pop()
        if isinstance(node, (*_Function, ast.ClassDef)):
            continue
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.For)):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name:
                value = node.iter if isinstance(node, ast.For) else node.value
                if value is not None:
                    # A loop variable takes many values: its iterable is no text.
                    yield value
        stack += [
            c for c in ast.iter_child_nodes(node) if isinstance(c, (ast.stmt, ast.ExceptHandler))
        ]
