"""Edits of a Python file: everything outside of them stays byte for byte."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import libcst as cst
from libcst.metadata import (
    ByteSpanPositionProvider,
    MetadataWrapper,
    ParentNodeProvider,
    Scope,
    ScopeProvider,
)

#: The start and the end of a node, in bytes.
Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, order=True)
class Edit:
    """The bytes of the file that a text replaces."""

    start: int
    end: int
    text: str


class Source:
    """The code of a module, and where its nodes are in it."""

    def __init__(self, tree: cst.Module) -> None:
        self.tree = tree
        self.data = tree.code.encode()
        # The parser makes each node once, so no copy is needed to tell them apart.
        wrapper = MetadataWrapper(tree, unsafe_skip_copy=True)
        self._spans = wrapper.resolve(ByteSpanPositionProvider)
        self.parents: Mapping[cst.CSTNode, cst.CSTNode] = wrapper.resolve(ParentNodeProvider)
        scopes = wrapper.resolve(ScopeProvider).values()
        self.scopes = {one for one in scopes if isinstance(one, Scope)}

    def span(self, node: cst.CSTNode) -> Span:
        """Returns the start and the end of a node, in bytes."""
        span = self._spans[node]
        return span.start, span.start + span.length

    def text(self, node: cst.CSTNode) -> str:
        """Returns the code of a node."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def edited(self, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
        """Returns the code, or a part of it, with these edits."""
        parts: list[bytes] = []
        for edit in sorted(set(edits)):
            parts += [self.data[start : edit.start], edit.text.encode()]
            start = edit.end
        return b"".join([*parts, self.data[start:end]]).decode()


def removals(spans: Sequence[Span], gone: Collection[int]) -> Iterator[Edit]:
    """Yields the edits that remove some elements of a list, each with one of its commas."""
    kept = [place for place in range(len(spans)) if place not in gone]
    for place in gone:
        if kept and place < kept[-1]:
            yield Edit(spans[place][0], spans[place + 1][0], "")
        else:
            yield Edit(spans[place - 1][1] if place else spans[place][0], spans[place][1], "")
