"""Decorators, overrides, permissions and mixins that change nothing any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias, cast

import libcst as cst
import libcst.matchers as m

from flagstaff.cleanup.references.branches import spliced
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.targets import MIXIN_ATTRIBUTES, Target, is_fixture, override
from flagstaff.cleanup.references.transforming import SmallStatement, Transformer

_Collection: TypeAlias = cst.List | cst.Tuple


class RemovesNeedless(Transformer):
    """Removes what allows everyone, and overrides that set the result that all users get."""

    def leave_Decorator(  # noqa: N802 (as in LibCST)
        self, original_node: cst.Decorator, updated_node: cst.Decorator
    ) -> cst.Decorator | cst.RemovalSentinel:
        node, updated = original_node.decorator, updated_node.decorator
        if self._is_removed(node):
            return cst.RemoveFromParent()
        is_method_decorator = node in self.targets.method_decorators
        if is_method_decorator and isinstance(node, cst.Call) and isinstance(updated, cst.Call):
            changed = self._method_decorator(node, updated)
            return (
                cst.RemoveFromParent()
                if changed is None
                else (
                    updated_node
                    if changed is updated
                    else updated_node.with_changes(decorator=changed)
                )
            )
        return updated_node

    def _method_decorator(self, original: cst.Call, updated: cst.Call) -> cst.Call | None:
        """Returns the call without our decorators; None if no other one is left."""
        if not original.args or original.args[0].star:
            return updated
        old, new = original.args[0].value, updated.args[0].value
        if self._is_removed(old):
            return None
        if not isinstance(old, cst.List | cst.Tuple) or not isinstance(new, cst.List | cst.Tuple):
            return updated
        pairs = zip(old.elements, new.elements, strict=True)
        kept = [after for before, after in pairs if not self._is_removed(before.value)]
        if len(kept) == len(old.elements):
            return updated
        if not kept:
            return None
        first = updated.args[0].with_changes(value=_with_elements(new, kept))
        return updated.with_changes(args=[first, *updated.args[1:]])

    def _is_removed(self, node: cst.BaseExpression) -> bool:
        target = self.targets.by_node.get(node)
        if target is None:
            return False
        is_needless = target.place.kind == Kind.DECORATOR and target.result
        if is_needless or self._is_same_override(node, target):
            self.done.add(target)
            return True
        return False

    @staticmethod
    def _is_same_override(node: cst.BaseExpression, target: Target) -> bool:
        return target.place.kind == Kind.TEST and override(node, target.place) is target.result

    def leave_With(  # noqa: N802
        self, original_node: cst.With, updated_node: cst.With
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        needless = [self._needless(item) for item in original_node.items]
        if not any(needless):
            return updated_node
        pairs = zip(needless, updated_node.items, strict=True)
        kept = [new for target, new in pairs if target is None]
        gone = [target for target in needless if target is not None]
        if kept:
            last = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            self.done.update(gone)
            return updated_node.with_changes(items=[*kept[:-1], last])
        statements = spliced(updated_node.body, updated_node.leading_lines)
        if statements is None:
            return updated_node
        self.done.update(gone)
        return cst.FlattenSentinel(statements)

    def _needless(self, item: cst.WithItem) -> Target | None:
        target = self.targets.of(item.item, Kind.TEST)
        if target is None or item.asname is not None:
            return None
        return target if self._is_same_override(item.item, target) else None

    def leave_Expr(self, original_node: cst.Expr, updated_node: cst.Expr) -> SmallStatement:  # noqa: N802
        """Removes the keys of `flags.on("a", "b")`, and the line without keys."""
        node, updated = original_node.value, updated_node.value
        if isinstance(node, cst.Call) and isinstance(updated, cst.Call):
            found = [self._fixture_key(arg, node) for arg in node.args]
            gone = [target for target in found if target is not None]
            self.done.update(gone)
            if gone and (len(gone) == len(found) or gone[0].place.name == "flags.set"):
                return cst.RemoveFromParent()
            if gone:
                pairs = zip(found, updated.args, strict=True)
                kept = [new for target, new in pairs if target is None]
                kept[-1] = kept[-1].with_changes(comma=node.args[-1].comma)
                return updated_node.with_changes(value=updated.with_changes(args=kept))
        return super().leave_Expr(original_node, updated_node)

    def _fixture_key(self, arg: cst.Arg, node: cst.Call) -> Target | None:
        target = self.targets.of(arg.value, Kind.TEST)
        if target is None or arg.star or not is_fixture(target.place):
            return None
        return target if self._is_same_override(node, target) else None

    def leave_Element(  # noqa: N802
        self, original_node: cst.Element, updated_node: cst.Element
    ) -> cst.Element | cst.RemovalSentinel:
        target = self.targets.of(original_node.value, Kind.PERMISSION)
        if target is not None and target.result:
            self.done.add(target)
            return cst.RemoveFromParent()
        return updated_node

    def leave_List(  # noqa: N802
        self, original_node: cst.List, updated_node: cst.List
    ) -> cst.BaseExpression:
        elements = updated_node.elements
        if not elements or len(elements) == len(original_node.elements):
            return updated_node
        return _with_elements(original_node, elements)


def _with_elements(node: _Collection, kept: Sequence[cst.BaseElement]) -> _Collection:
    """Returns the collection with some of its elements, with the comma after its last one."""
    comma = node.elements[-1].comma
    if isinstance(node, cst.Tuple) and len(kept) == 1 and not isinstance(comma, cst.Comma):
        comma = cst.Comma()
    last = kept[-1].with_changes(comma=comma)
    return node.with_changes(elements=[*kept[:-1], last])


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
        targets = (self.targets.of(value, Kind.MIXIN) for value in _key_values(original_node))
        found = [target for target in targets if target is not None and target.result]
        bases = [base for base in updated_node.bases if not _is_mixin(base.value)]
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
