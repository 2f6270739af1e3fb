"""Where calls and subscripts begin, by Python's own parser.

LibCST computes positions by writing the whole file again, which takes longer than all the rest of
the search. Both parsers see the same brackets in the same order, so the number of a bracket says
which node of one is which node of the other.
"""

from __future__ import annotations

import ast

import libcst as cst

__all__ = ["starts_of"]


def starts_of(source: str) -> dict[type[cst.CSTNode], list[tuple[int, int]]]:
    """Returns the lines and columns of all calls and subscripts, by their opening brackets.

    Those in f-strings are left out. Returns nothing if this version of Python cannot parse it.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    lines = source.split("\n")
    calls: list[tuple[tuple[int, int], tuple[int, int]]] = []
    subscripts: list[tuple[tuple[int, int], tuple[int, int]]] = []
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Call):
            calls.append((_end(node.func), _start(node, lines)))
        elif isinstance(node, ast.Subscript):
            subscripts.append((_end(node.value), _start(node, lines)))
        if not isinstance(node, ast.JoinedStr):
            nodes += ast.iter_child_nodes(node)
    return {
        cst.Call: [start for _, start in sorted(calls)],
        cst.Subscript: [start for _, start in sorted(subscripts)],
    }


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def _start(node: ast.expr, lines: list[str]) -> tuple[int, int]:
    # Python counts bytes.
    line = lines[node.lineno - 1]
    before = line.encode("utf-8", "surrogatepass")[: node.col_offset]
    return node.lineno, len(before.decode("utf-8", "replace"))
