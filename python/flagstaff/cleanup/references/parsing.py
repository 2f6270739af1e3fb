"""A file → its tree, its scopes and its places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from flagstaff.cleanup.references.collecting import Collector

__all__ = ["Module", "parse"]


@dataclass(eq=False)
class Module:
    """A parsed Python file."""

    path: str
    tree: cst.Module
    found: Collector

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file, as the tree has them."""
        return self.tree.code.splitlines()

    def position(self, node: cst.CSTNode) -> CodeRange:
        """Returns where a node of the tree begins and ends."""
        return self._positions[node]

    @cached_property
    def _positions(self) -> dict[cst.CSTNode, CodeRange]:
        # The parser makes each node once, so no copy is needed to tell them apart.
        wrapper = MetadataWrapper(self.tree, unsafe_skip_copy=True)
        return dict(wrapper.resolve(PositionProvider))


def parse(path: str, module: str) -> Module | None:
    """Returns the module of a file; None if it cannot be read or is not valid Python."""
    try:
        tree = cst.parse_module(Path(path).read_bytes())
    except (OSError, cst.ParserSyntaxError, ValueError, LookupError, RecursionError):
        return None
    collector = Collector(path, module)
    tree.visit(collector)
    return Module(path, tree, collector)
