"""What a patch must not change about a function or a class: the scopes of its names, its docstring.

A name that only a removed branch assigns is local before, and may be a global one afterwards.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

__all__ = ["changed_scopes"]

_Shape = TypeVar("_Shape")
#: By the names of the functions and classes around one and its own, joined by dots.
_ByName: TypeAlias = dict[str, list[_Shape]]


def changed_scopes(before: str, after: str) -> set[str]:
    """Returns the functions and classes that have other scopes or docstrings in the new code.

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
