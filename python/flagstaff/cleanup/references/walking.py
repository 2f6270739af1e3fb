"""A fast walk over a tree of LibCST, which only reads: five times faster than its visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import libcst as cst

__all__ = ["Walker"]

# In the order of the source, where the fields of the class are in another one.
_IN_ORDER: dict[type[cst.CSTNode], tuple[str, ...]] = {
    cst.IfExp: ("body", "test", "orelse"),
    cst.Parameters: ("posonly_params", "params", "star_arg", "kwonly_params", "star_kwarg"),
    cst.ExceptHandler: ("type", "name", "body"),
    cst.ExceptStarHandler: ("type", "name", "body"),
    cst.MatchCase: ("pattern", "guard", "body"),
    cst.FormattedString: ("parts",),
    cst.Name: (),
    cst.SimpleString: (),
}
# Fields of spaces, brackets and signs.
_WITHOUT_NAMES = (
    "asynchronous", "at", "colon", "comma", "dot", "empty", "equal", "first_line", "footer",
    "header", "indent", "lbr", "leading", "lines_after", "lpar", "newline", "operator", "rbr",
    "rpar", "semicolon", "trailing", "whitespace",
)  # fmt: skip


class Walker:
    """Walks over all nodes that may contain expressions, in the order of the source.

    A handler takes the place of the walk over the children of its nodes.
    """

    handlers: Mapping[type[cst.CSTNode], Callable[[Any], None]]

    def __init__(self) -> None:
        self.handlers = {}
        self._in_string = 0
        #: Calls and subscripts, by the order of their opening brackets; without those in f-strings.
        self.numbers: dict[cst.CSTNode, int] = {}
        #: How many of each type have a number.
        self.counts: dict[type[cst.CSTNode], int] = {}

    def walk(self, node: cst.CSTNode) -> None:
        """Handles a node, or walks over its children."""
        handler = self.handlers.get(type(node))
        if handler is not None:
            handler(node)
        elif isinstance(node, cst.FormattedString):
            self._in_string += 1
            self.walk_children(node)
            self._in_string -= 1
        else:
            self.walk_children(node)

    def walk_children(self, node: cst.CSTNode) -> None:
        """Walks over the children of a node."""
        kind = type(node)
        names = _NAMES.get(kind)
        if names is None:
            names = _NAMES[kind] = _names(kind)
        for name in names:
            child = getattr(node, name)
            if isinstance(child, cst.CSTNode):
                self.walk(child)
            elif isinstance(child, tuple | list):
                self.walk_all(child)

    def walk_all(self, nodes: Iterable[cst.CSTNode]) -> None:
        """Walks over some nodes."""
        for node in nodes:
            self.walk(node)

    def number(self, node: cst.CSTNode) -> None:
        """Gives a node the next number of its type."""
        if not self._in_string:
            number = self.counts.get(type(node), 0)
            self.numbers[node] = number
            self.counts[type(node)] = number + 1


_NAMES = dict(_IN_ORDER)


def _names(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    every = (field.name for field in fields(kind))
    return tuple(name for name in every if not name.startswith(_WITHOUT_NAMES))
