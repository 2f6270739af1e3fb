"""The small changes of a Python file: each one changes the meaning of one line of a function."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

__all__ = ["Mutation", "mutations_of"]


class Mutation(NamedTuple):
    """A replacement of the text between two positions of a file."""

    line: int
    start: int
    end: int
    text: str
    name: str

    def apply(self, source: bytes) -> bytes:
        """Returns the file with this change. Positions count bytes, as in `ast`."""
        return source[: self.start] + self.text.encode() + source[self.end :]


_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
}

_Change = tuple[ast.AST, str, str]


def mutations_of(source: str) -> list[Mutation]:
    """Returns every change of a function's body that this module knows, in order of position."""
    found = {
        Mutation(node.lineno, *_positions(node, source), text, name)  # type: ignore[attr-defined]
        for node, text, name in _changes(source)
    }
    return sorted(found)


def _changes(source: str) -> Iterator[_Change]:
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in function.body:
                if not _is_docstring(statement):
                    yield from _changes_below(statement, source)


def _changes_below(node: ast.AST, source: str) -> Iterator[_Change]:
    """Yields the changes of a node and its children, without annotations and docstrings."""
    change = _CHANGES.get(type(node))
    if change:
        yield from change(node, source)
    # Before Python 3.12, the parts of an f-string have no positions of their own.
    if isinstance(node, ast.JoinedStr):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_docstring(child):
                yield from _changes_below(child, source)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _text(node: ast.AST, source: str) -> str:
    start, end = _positions(node, source)
    return source.encode()[start:end].decode()


def _positions(node: Any, source: str) -> tuple[int, int]:
    starts = _starts(source)
    start = starts[node.lineno - 1] + node.col_offset
    return start, starts[node.end_lineno - 1] + node.end_col_offset


# `ast.get_source_segment` splits the whole file for each node.
@lru_cache(maxsize=1)
def _starts(source: str) -> list[int]:
    lines = source.encode().splitlines(keepends=True)
    return [0, *accumulate(len(line) for line in lines)]


def _comparison(node: ast.Compare, source: str) -> Iterator[_Change]:
    if len(node.ops) == 1:
        left, right = _text(node.left, source), _text(node.comparators[0], source)
        yield node, f"({left} {_COMPARISONS[type(node.ops[0])]} {right})", "comparison"


def _boolean(node: ast.BoolOp, source: str) -> Iterator[_Change]:
    word = " or " if isinstance(node.op, ast.And) else " and "
    parts = word.join(f"({_text(part, source)})" for part in node.values)
    yield node, f"({parts})", "and, or"


def _negation(node: ast.UnaryOp, source: str) -> Iterator[_Change]:
    if isinstance(node.op, ast.Not):
        yield node, f"bool({_text(node.operand, source)})", "not"


def _arithmetic(node: ast.BinOp, source: str) -> Iterator[_Change]:
    operator = _OPERATORS.get(type(node.op))
    if operator and not isinstance(node.left, ast.Constant | ast.JoinedStr):
        yield (
            node,
            f"({_text(node.left, source)} {operator} {_text(node.right, source)})",
            "operator",
        )


def _condition(node: ast.If | ast.IfExp | ast.While, source: str) -> Iterator[_Change]:
    yield node.test, f"(not ({_text(node.test, source)}))", "condition"


def _constant(node: ast.Constant, source: str) -> Iterator[_Change]:
    value = node.value
    if isinstance(value, bool):
        yield node, str(not value), "constant"
    elif isinstance(value, int):
        yield node, str(value + 1), "constant"
    elif isinstance(value, float):
        yield node, repr(value + 1), "constant"
    elif isinstance(value, str) and _text(node, source)[:1] in ('"', "'") and value:
        yield node, repr(f"X{value}"), "text"


def _returned(node: ast.Return, source: str) -> Iterator[_Change]:
    if node.value is not None and _text(node.value, source) not in ("None", "True", "False"):
        yield node.value, "None", "result"


def _call(node: ast.Expr, source: str) -> Iterator[_Change]:
    if isinstance(node.value, ast.Call):
        yield node, "pass", "call left out"


def _jump(node: ast.Break | ast.Continue, source: str) -> Iterator[_Change]:
    yield node, "continue" if isinstance(node, ast.Break) else "break", "jump"


def _formatted(node: ast.JoinedStr, _source: str) -> Iterator[_Change]:
    yield node, '"X"', "text"


_CHANGES: dict[type[ast.AST], Callable[..., Iterator[_Change]]] = {
    ast.Compare: _comparison,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _negation,
    ast.BinOp: _arithmetic,
    ast.If: _condition,
    ast.IfExp: _condition,
    ast.While: _condition,
    ast.Constant: _constant,
    ast.Return: _returned,
    ast.Expr: _call,
    ast.Break: _jump,
    ast.Continue: _jump,
    ast.JoinedStr: _formatted,
}
