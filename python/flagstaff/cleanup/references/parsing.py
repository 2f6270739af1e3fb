"""A file → its tree, its scopes and its places."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import libcst as cst
from libcst.metadata import CodePosition, MetadataWrapper, PositionProvider

from flagstaff.cleanup.references.collecting import Collector
from flagstaff.cleanup.references.positions import starts_of

__all__ = ["Module", "UnreadableError", "parse", "reason_of"]


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
        # Numbers that differ would be a difference between two parsers: then the slow way decides.
        is_complete = len(starts) == sum(type(one) is type(node) for one in self.found.numbers)
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
        data = Path(path).read_bytes()
        line = _check_depth(data)
        tree = cst.parse_module(data)
        source = data.decode(tree.encoding).removeprefix("\ufeff")
        collector = Collector(path, module)
        collector.walk(tree)
    except OSError as error:
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


def _check_depth(data: bytes) -> int | None:
    """Raises RecursionError for code on which LibCST would crash the process.

    Returns the line on which this version of Python sees an error.
    """
    try:
        ast.parse(data)
    except MemoryError as error:
        raise RecursionError from error
    except SyntaxError as error:
        if "too many nested" in error.msg:
            raise RecursionError from error
        # LibCST reads other versions of Python.
        return error.lineno
    except ValueError:
        pass
    return None


def reason_of(error: OSError) -> str:
    """Returns why a file cannot be read."""
    return f"it cannot be read ({error.strerror})"
