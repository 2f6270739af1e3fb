"""The code of a module with flags resolved: conditions, decorators, overrides and imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import cast

import libcst as cst

from flagstaff.cleanup.references.branches import ends_generator, spliced, without_dead_code
from flagstaff.cleanup.references.conditions import Resolved
from flagstaff.cleanup.references.imports import without_unused_imports
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.places import Place

__all__ = ["rewritten"]

_MIXIN_ATTRIBUTES = frozenset({"flag_key", "flag_otherwise", "flag_context"})


def rewritten(
    tree: cst.Module, places: Mapping[cst.CSTNode, tuple[Place, bool]]
) -> tuple[str, set[cst.CSTNode]]:
    """Returns the new code, and the places that are resolved in it.

    `places` has the result of the flag for each node that names it. The code is unchanged if the
    new one would not be valid Python.
    """
    transformer = _Transformer(places)
    try:
        changed = tree.visit(transformer)
        code = without_unused_imports(tree, changed).code
        ast.parse(code)
    except (SyntaxError, cst.CSTValidationError, ValueError):
        return tree.code, set()
    return code, transformer.done


class _Transformer(cst.CSTTransformer):
    def __init__(self, places: Mapping[cst.CSTNode, tuple[Place, bool]]) -> None:
        super().__init__()
        self._places = places
        self._known = Resolved()
        #: The last statements of branches that took the place of their `if`.
        self._ends: set[cst.CSTNode] = set()
        self._elifs: set[cst.CSTNode] = set()
        #: How many assertions are around the node.
        self._assertions = 0
        self.done: set[cst.CSTNode] = set()

    # Places: evaluations become True or False, except in assertions of tests, which are for people.

    def visit_Assert(self, node: cst.Assert) -> None:  # noqa: N802 (as in LibCST)
        self._assertions += 1

    def leave_Assert(  # noqa: N802
        self, original_node: cst.Assert, updated_node: cst.Assert
    ) -> cst.Assert:
        self._assertions -= 1
        return updated_node

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802
        self._assertions += _is_assertion(node)

    def leave_Call(  # noqa: N802
        self, original_node: cst.Call, updated_node: cst.Call
    ) -> cst.BaseExpression:
        self._assertions -= _is_assertion(original_node)
        return self._evaluated(original_node, updated_node)

    def leave_Subscript(  # noqa: N802
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        return self._evaluated(original_node, updated_node)

    def _evaluated(
        self, original: cst.Call | cst.Subscript, updated: cst.Call | cst.Subscript
    ) -> cst.BaseExpression:
        found = self._places.get(original)
        if found is None or found[0].kind != Kind.EVALUATION or found[0].is_indirect:
            return updated
        if self._assertions:
            return updated
        self.done.add(original)
        return self._known.constant(found[1], updated)

    # Conditions.

    def leave_Await(  # noqa: N802
        self, original_node: cst.Await, updated_node: cst.Await
    ) -> cst.BaseExpression:
        return self._known.awaited(updated_node)

    def leave_UnaryOperation(  # noqa: N802
        self, original_node: cst.UnaryOperation, updated_node: cst.UnaryOperation
    ) -> cst.BaseExpression:
        return self._known.negated(updated_node)

    def leave_BooleanOperation(  # noqa: N802
        self, original_node: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BaseExpression:
        return self._known.combined(updated_node)

    def leave_IfExp(  # noqa: N802
        self, original_node: cst.IfExp, updated_node: cst.IfExp
    ) -> cst.BaseExpression:
        return self._known.chosen(updated_node)

    def leave_Expr(  # noqa: N802
        self, original_node: cst.Expr, updated_node: cst.Expr
    ) -> cst.Expr | cst.RemovalSentinel:
        is_known = self._known.of(updated_node.value) is not None
        return cst.RemoveFromParent() if is_known else updated_node

    # Branches.

    def visit_If(self, node: cst.If) -> None:  # noqa: N802
        if isinstance(node.orelse, cst.If):
            self._elifs.add(node.orelse)

    def leave_If(  # noqa: N802
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        updated = self._known.with_simple_test(updated_node)
        updated = updated.with_changes(orelse=self._simple_orelse(updated.orelse))
        result = self._known.of(updated.test)
        if result is None or original_node in self._elifs:
            return updated
        body, orelse = updated.body, updated.orelse
        if ends_generator(orelse, body) if result else ends_generator(body, orelse):
            return updated
        branch = updated.body if result else getattr(updated.orelse, "body", None)
        if not result and isinstance(updated.orelse, cst.If):
            # The first `elif` becomes the `if`.
            return updated.orelse.with_changes(leading_lines=updated.leading_lines)
        if branch is None:
            return cst.RemoveFromParent()
        statements = spliced(branch, updated.leading_lines)
        if statements is None:
            return updated
        self._ends.add(statements[-1])
        return cst.FlattenSentinel(statements)

    def _simple_orelse(self, orelse: cst.If | cst.Else | None) -> cst.If | cst.Else | None:
        if not isinstance(orelse, cst.If):
            return orelse
        result = self._known.of(orelse.test)
        if result is None:
            return orelse
        body, rest = orelse.body, orelse.orelse
        if ends_generator(rest, body) if result else ends_generator(body, rest):
            return orelse
        if not result:
            return orelse.orelse
        return cst.Else(body=orelse.body, leading_lines=orelse.leading_lines)

    def leave_IndentedBlock(  # noqa: N802
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.BaseSuite:
        return without_dead_code(updated_node, self._ends)

    def leave_CompFor(  # noqa: N802
        self, original_node: cst.CompFor, updated_node: cst.CompFor
    ) -> cst.CompFor:
        kept = [one for one in updated_node.ifs if self._known.of(one.test) is not True]
        return updated_node.with_changes(ifs=kept)

    # Decorators, overrides, permissions and mixins that change nothing any more.

    def leave_Decorator(  # noqa: N802
        self, original_node: cst.Decorator, updated_node: cst.Decorator
    ) -> cst.Decorator | cst.RemovalSentinel:
        node = original_node.decorator
        found = self._places.get(node)
        if found is None:
            return updated_node
        place, result = found
        is_needless = place.kind == Kind.DECORATOR and result
        if is_needless or (place.kind == Kind.TEST and _override(node) is result):
            self.done.add(node)
            return cst.RemoveFromParent()
        return updated_node

    def leave_With(  # noqa: N802
        self, original_node: cst.With, updated_node: cst.With
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        kept = [
            new
            for old, new in zip(original_node.items, updated_node.items, strict=True)
            if not self._is_needless(old)
        ]
        if len(kept) == len(updated_node.items):
            return updated_node
        if kept:
            last = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            result: cst.BaseStatement = updated_node.with_changes(items=[*kept[:-1], last])
            self.done.update(one.item for one in original_node.items if self._is_needless(one))
            return result
        statements = spliced(updated_node.body, updated_node.leading_lines)
        if statements is None:
            return updated_node
        self.done.update(one.item for one in original_node.items)
        return cst.FlattenSentinel(statements)

    def _is_needless(self, item: cst.WithItem) -> bool:
        found = self._places.get(item.item)
        return (
            found is not None
            and found[0].kind == Kind.TEST
            and item.asname is None
            and _override(item.item) is found[1]
        )

    def leave_Element(  # noqa: N802
        self, original_node: cst.Element, updated_node: cst.Element
    ) -> cst.Element | cst.RemovalSentinel:
        found = self._places.get(original_node.value)
        if found is not None and found[0].kind == Kind.PERMISSION and found[1]:
            self.done.add(original_node.value)
            return cst.RemoveFromParent()
        return updated_node

    def leave_List(  # noqa: N802
        self, original_node: cst.List, updated_node: cst.List
    ) -> cst.List:
        elements = updated_node.elements
        if not elements or len(elements) == len(original_node.elements):
            return updated_node
        last = elements[-1].with_changes(comma=original_node.elements[-1].comma)
        return updated_node.with_changes(elements=[*elements[:-1], last])

    # Views whose flag is always on.

    def leave_ClassDef(  # noqa: N802
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        found = [value for value in _key_values(original_node) if self._is_on(value)]
        bases = [one for one in updated_node.bases if not _is_mixin(one.value)]
        if not found or len(bases) == len(updated_node.bases) or _has_own_context(original_node):
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

    def _is_on(self, node: cst.CSTNode) -> bool:
        found = self._places.get(node)
        return found is not None and found[0].kind == Kind.MIXIN and found[1]


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
        target = assigned.targets[0].target
    elif isinstance(assigned, cst.AnnAssign):
        target = assigned.target
    else:
        return False
    return isinstance(target, cst.Name) and target.value in _MIXIN_ATTRIBUTES


def _is_mixin(node: cst.BaseExpression) -> bool:
    last = node.attr if isinstance(node, cst.Attribute) else node
    return isinstance(last, cst.Name) and last.value == "FlagRequiredMixin"


def _has_own_context(node: cst.ClassDef) -> bool:
    return any(
        isinstance(one, cst.FunctionDef) and one.name.value == "get_flag_context"
        for one in node.body.body
    )


def _is_assertion(node: cst.Call) -> bool:
    """Returns True for `self.assertTrue(…)` and the like."""
    return isinstance(node.func, cst.Attribute) and node.func.attr.value.startswith("assert")


def _override(node: cst.BaseExpression) -> bool | None:
    """Returns the result that `override_flag("key", True)` sets; None if it is not a constant."""
    if not isinstance(node, cst.Call):
        return None
    others = [arg for arg in node.args if arg.keyword is None or arg.keyword.value != "key"]
    if len(others) == len(node.args):
        others = others[1:]
    if not others:
        # `pytest.mark.flag("key")` turns it on.
        return True
    value = others[0].value
    names = {"True": True, "False": False}
    return names.get(value.value) if isinstance(value, cst.Name) else None
