"""A file → its tree, its scopes and its places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import libcst as cst
from libcst.metadata import CodePosition, MetadataWrapper, PositionProvider

from flagstaff.cleanup.references.collecting import Collector
from flagstaff.cleanup.references.positions import starts_of

__all__ = ["Module", "parse"]


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


def parse(path: str, module: str) -> Module | None:
    """Returns the module of a file; None if it cannot be read or is not valid Python."""
    try:
        data = Path(path).read_bytes()
        tree = cst.parse_module(data)
        source = data.decode(tree.encoding).removeprefix("\ufeff")
        collector = Collector(path, module)
        collector.walk(tree)
    except (OSError, cst.ParserSyntaxError, ValueError, LookupError, RecursionError):
        return None
        # As Python reads a file.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return Module(path, source, tree, collector)
