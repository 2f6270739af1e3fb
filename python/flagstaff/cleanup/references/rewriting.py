"""The code of a module with flags resolved: conditions, decorators, overrides and imports."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import libcst as cst

from flagstaff.cleanup.references.branching import ResolvesBranches
from flagstaff.cleanup.references.exactness import drop_inexact
from flagstaff.cleanup.references.imports import Unused, without_unused_imports
from flagstaff.cleanup.references.removing import RemovesMixins, RemovesNeedless
from flagstaff.cleanup.references.resolving import ResolvesExpressions
from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.variables import variables_in


class _Rewriting(RemovesNeedless, RemovesMixins, ResolvesBranches, ResolvesExpressions):
    """All parts at once."""


def rewritten(
    tree: cst.Module, targets: Targets, unused: Unused | None = None
) -> tuple[str, set[Target]]:
    """Returns the new code, and the places that are resolved in it.

    `unused` decides about imports of names that the new code does not use. The code is unchanged
    if the new one would not be valid Python. A place stays if without it, a name of its function
    would have another scope, or the function another docstring.
    """
    if not targets.by_node:
        return tree.code, set()
    drop_inexact(tree, targets)
    while targets.by_node:
        code, done = _rewritten(tree, targets, unused)
        try:
            changed = changed_scopes(tree.code, code)
        except SyntaxError:
            # It is written for another version of Python.
            break
        if not changed:
            return code, done
        if not targets.drop_in(changed):
            break
    return tree.code, set()


def _rewritten(
    tree: cst.Module, targets: Targets, unused: Unused | None
) -> tuple[str, set[Target]]:
    variables = variables_in(tree, targets)
    # `return(True and x)` needs its brackets: without them, there would be no space.
    for keeps_brackets in (False, True):
        try:
            transformer = _Rewriting(targets, variables, keeps_brackets=keeps_brackets)
            changed = tree.visit(transformer)
            code = without_unused_imports(tree, changed, unused).code
            # Unlike a parser, this knows that each `nonlocal` needs a binding.
            compile(code, "<patched>", "exec", dont_inherit=True)
        except (SyntaxError, cst.CSTValidationError, ValueError, RecursionError):
            continue
        return code, transformer.done
    return tree.code, set()


_Shape = TypeVar("_Shape")
#: By the names of the functions and classes around one and its own, joined by dots.
_ByName: TypeAlias = dict[str, list[_Shape]]


def changed_scopes(before: str, after: str) -> set[str]:
    """Returns the functions and classes that have other scopes or docstrings in the new code.

    A name that only a removed branch assigns is local before, and may be a global one afterwards.
    The module itself has the name "". Raises SyntaxError for code that is not valid.
    """
    symbols = _differences(_symbols(before), _symbols(after), _has_same_scopes)
    docstrings = _differences(_docstrings(before), _docstrings(after), str.__eq__)
    return {*symbols, *docstrings}


def _differences(
    before: _ByName[_Shape], after: _ByName[_Shape], is_same: Callable[[_Shape, _Shape], bool]
) -> Iterator[str]:
    for name, new in after.items():
        old = before.get(name, [])
        if len(old) == len(new):
            pairs = zip(old, new, strict=True)
            if not all(is_same(one, other) for one, other in pairs):
                yield name
        elif not all(any(is_same(one, other) for one in old) for other in new):
            yield name


def _symbols(code: str) -> _ByName[dict[str, str]]:
    found: _ByName[dict[str, str]] = {}
    waiting = [("", symtable.symtable(code, "<code>", "exec"))]
    while waiting:
        around, table = waiting.pop(0)
        for child in table.get_children():
            name = f"{around}.{child.get_name()}".lstrip(".")
            scopes = {one.get_name(): _scope(one) for one in child.get_symbols()}
            found.setdefault(name, []).append(scopes)
            waiting.append((name, child))
    return found


def _scope(symbol: symtable.Symbol) -> str:
    if symbol.is_local():
        return "local"
    return "free" if symbol.is_free() else "global"


def _has_same_scopes(before: dict[str, str], after: dict[str, str]) -> bool:
    return all(before.get(name, scope) == scope for name, scope in after.items())


def _docstrings(code: str) -> _ByName[str]:
    found: _ByName[str] = {}
    waiting: list[tuple[str, ast.AST]] = [("", ast.parse(code))]
    while waiting:
        name, node = waiting.pop(0)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(node, ast.Module):
                name = f"{name}.{node.name}".lstrip(".")
            found.setdefault(name, []).append(ast.get_docstring(node, clean=False) or "")
        waiting += [(name, child) for child in ast.iter_child_nodes(node)]
    return found
