"""What the parts of the rewriting share: the places of the flags, and which are resolved."""

from __future__ import annotations

from typing import TypeAlias

import libcst as cst

from flagstaff.cleanup.references.conditions import Resolved
from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.variables import Variables

__all__ = ["SmallStatement", "Transformer"]

#: What may take the place of a small statement.
SmallStatement: TypeAlias = (
    cst.BaseSmallStatement | cst.FlattenSentinel[cst.BaseSmallStatement] | cst.RemovalSentinel
)


class Transformer(cst.CSTTransformer):
    """A part of the rewriting. Each part handles other types of nodes."""

    def __init__(
        self, targets: Targets, variables: Variables, *, keeps_brackets: bool = False
    ) -> None:
        super().__init__()
        self.targets = targets
        self.variables = variables
        self.known = Resolved(keeps_brackets=keeps_brackets)
        #: The places that are resolved in the new code.
        self.done: set[Target] = set()
