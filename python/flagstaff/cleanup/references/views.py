"""Views whose flag is always on need no mixin any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import libcst as cst
import libcst.matchers as m

from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.targets import MIXIN_ATTRIBUTES
from flagstaff.cleanup.references.transforming import Transformer

__all__ = ["RemovesMixins"]


class RemovesMixins(Transformer):
    """Removes FlagRequiredMixin, and what configures it."""

    #: The module reads an attribute of the mixin, or passes one to `as_view`.
    _uses_attributes = False

    def visit_Module(self, node: cst.Module) -> None:  # noqa: N802 (as in LibCST)
        names = m.OneOf(*(m.Name(name) for name in sorted(MIXIN_ATTRIBUTES)))
        used = m.findall(node, m.Attribute(attr=names) | m.Arg(keyword=names))
        self._uses_attributes = bool(used)

    def leave_ClassDef(  # noqa: N802 (as in LibCST)
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        targets = (self.targets.of(one, Kind.MIXIN) for one in _key_values(original_node))
        found = [one for one in targets if one is not None and one.result]
        bases = [one for one in updated_node.bases if not _is_mixin(one.value)]
        if not found or len(bases) == len(updated_node.bases) or _has_own_context(original_node):
            return updated_node
        if self._uses_attributes:
            return updated_node
        self.done.update(found)
        body = [one for one in updated_node.body.body if not _is_mixin_attribute(one)]
        if bases:
            bases[-1] = bases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        has_brackets = bool(bases or updated_node.keywords)
        bracket = cst.MaybeSentinel.DEFAULT
        return updated_node.with_changes(
            bases=bases,
            body=updated_node.body.with_changes(body=body),
            **({} if has_brackets else {"lpar": bracket, "rpar": bracket}),
        )


def _key_values(node: cst.ClassDef) -> Iterator[cst.BaseExpression]:
    for statement in node.body.body:
        if _is_mixin_attribute(statement):
            assigned = cast("cst.SimpleStatementLine", statement).body[0]
            value = getattr(assigned, "value", None)
            if value is not None:
                yield value


def _is_mixin_attribute(statement: cst.CSTNode) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return False
    assigned = statement.body[0]
    if isinstance(assigned, cst.Assign):
        if len(assigned.targets) != 1:
            return False
        target = assigned.targets[0].target
    elif isinstance(assigned, cst.AnnAssign):
        target = assigned.target
    else:
        return False
    return isinstance(target, cst.Name) and target.value in MIXIN_ATTRIBUTES


def _is_mixin(node: cst.BaseExpression) -> bool:
    last = node.attr if isinstance(node, cst.Attribute) else node
    return isinstance(last, cst.Name) and last.value == "FlagRequiredMixin"


def _has_own_context(node: cst.ClassDef) -> bool:
    return any(
        isinstance(one, cst.FunctionDef) and one.name.value == "get_flag_context"
        for one in node.body.body
    )
