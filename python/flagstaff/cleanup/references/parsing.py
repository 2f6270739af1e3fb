"""A file → its tree, its scopes and its places."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

import libcst as cst
from libcst.metadata import CodePosition, MetadataWrapper, PositionProvider

from flagstaff.cleanup.references.collecting import Collector
from flagstaff.cleanup.references.files import LimitError, read

# LibCST takes about four kilobytes of memory for each node.
_MAX_PYTHON_BYTES = 400_000
_MAX_NODES = 80_000
# Evaluations are calls or subscripts.
_MAX_CALLS = 10_000


@dataclass(eq=False)
class Module:
    """A parsed Python file."""

    path: str
    source: str
    tree: cst.Module
    found: Collector

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file."""
        return self.source.split("\n")

    def start(self, node: cst.CSTNode) -> tuple[int, int]:
        """Returns the line of a node, from 1, and its column, from 0."""
        starts = self._starts.get(type(node), ())
        number = self.found.numbers.get(node)
        # Counts that differ would be a difference between two parsers: then the slow way decides.
        is_complete = len(starts) == self.found.counts.get(type(node), 0)
        if number is not None and is_complete:
            return starts[number]
        position = self._positions[node]
        return position.line, position.column

    @cached_property
    def _starts(self) -> dict[type[cst.CSTNode], list[tuple[int, int]]]:
        return starts_of(self.source)

    @cached_property
    def _positions(self) -> dict[cst.CSTNode, CodePosition]:
        # The parser makes each node once, so no copy is needed to tell them apart.
        wrapper = MetadataWrapper(self.tree, unsafe_skip_copy=True)
        return {node: found.start for node, found in wrapper.resolve(PositionProvider).items()}


class UnreadableError(Exception):
    """A file cannot be read or is not valid Python; says why."""


def parse(path: str, module: str) -> Module:
    """Returns the module of a file. Raises UnreadableError."""
    try:
        data = read(path)
        line = _check(data)
        tree = cst.parse_module(data)
        source = data.decode(tree.encoding).removeprefix("\ufeff")
        collector = Collector(path, module)
        collector.walk(tree)
    except (OSError, LimitError) as error:
        raise UnreadableError(reason_of(error)) from error
    except cst.ParserSyntaxError as error:
        # LibCST says line 1 if it cannot even read the tokens.
        number = error.raw_line if error.raw_line > 1 else line or 1
        raise UnreadableError(f"not valid Python (line {number})") from error
    except (SyntaxError, ValueError, LookupError) as error:
        raise UnreadableError(f"not valid Python ({error})") from error
    except RecursionError as error:
        raise UnreadableError("nested too deeply") from error
    # As Python reads a file.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return Module(path, source, tree, collector)


def _check(data: bytes) -> int | None:
    """Raises an error for code on which LibCST would crash the process or take too much memory.

    Returns the line on which this version of Python sees an error.
    """
    if len(data) > _MAX_PYTHON_BYTES:
        raise LimitError(f"it is larger than {_MAX_PYTHON_BYTES // 1_000:,} kB")
    if b"\0" in data:
        raise ValueError("it contains a NUL")
    try:
        tree = ast.parse(data)
    except MemoryError as error:
        raise RecursionError from error
    except SyntaxError as error:
        if "too many nested" in error.msg:
            raise RecursionError from error
        # LibCST reads other versions of Python.
        return error.lineno
    except ValueError:
        return None
    if len(data) > _MAX_CALLS:
        nodes = list(ast.walk(tree))
        if len(nodes) > _MAX_NODES:
            raise LimitError(f"it has more than {_MAX_NODES:,} syntax nodes")
        if sum(isinstance(node, ast.Call | ast.Subscript) for node in nodes) > _MAX_CALLS:
            raise LimitError(f"it has more than {_MAX_CALLS:,} calls")
    return None


def reason_of(error: OSError | LimitError) -> str:
    """Returns why a file is not searched."""
    return f"it cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)


def problem_of(error: Exception) -> str:
    """Returns why a file is not searched, for any error."""
    if isinstance(error, OSError | LimitError):
        return reason_of(error)
    return f"it caused an error ({type(error).__name__}: {error})"


def starts_of(source: str) -> dict[type[cst.CSTNode], list[tuple[int, int]]]:
    """Returns the lines and columns of all calls and subscripts, by their opening brackets.

    Those in f-strings are left out. Returns nothing if this version of Python cannot parse it.

    LibCST computes positions by writing the whole file again, which takes longer than all the rest
    of the search. Both parsers see the same brackets in the same order, so the number of a bracket
    says which node of one is which node of the other.
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
