"""Evaluations that a constant cannot replace without another change of the code."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.naming import last_name
from flagstaff.cleanup.references.scopes import Scope, find
from flagstaff.cleanup.references.targets import Targets
from flagstaff.cleanup.references.values import Object

# Calls without a side effect: of Python, and of flagstaff for the owner of a method.
_PURE = frozenset({"bool", "dict", "frozenset", "int", "len", "list", "set", "str", "tuple"})
_REQUEST = (Object("request"),)
_OWNERS = frozenset({"aall", "all", "all_flags", "client_side", "snapshot"})


def drop_inexact(tree: cst.Module, targets: Targets) -> None:
    """Leaves out evaluations that do more than to return a result."""
    finder = _Finder(targets)
    tree.visit(finder)
    for node in finder.found:
        targets.by_node.pop(node, None)


class _Finder(cst.CSTVisitor):
    def __init__(self, targets: Targets) -> None:
        super().__init__()
        self._targets = targets
        self._awaited: set[cst.CSTNode] = set()
        self.found: set[cst.CSTNode] = set()

    def visit_Await(self, node: cst.Await) -> None:  # noqa: N802 (as in LibCST)
        self._awaited.add(node.expression)

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802
        target = self._targets.of(node, Kind.EVALUATION)
        if target is None:
            return
        name = last_name(node.func)
        # Someone awaits what `aenabled` returns; `pop` changes its dict.
        is_other = name == "pop" or (name == "aenabled" and node not in self._awaited)
        args = [one.value for one in node.args if one.value is not target.place.key]
        if (
            is_other
            or _acts(node.func, _OWNERS)
            or _acts(target.place.key)
            or any(_acts(one) or self._may_fail(one, target.place.scope) for one in args)
        ):
            self.found.add(node)

    def _may_fail(self, node: cst.CSTNode, scope: Scope) -> bool:
        """Whether an argument may do something or raise an error that would be missed."""
        evaluator = self._targets.evaluator
        if evaluator is None:
            return False
        if isinstance(node, cst.Subscript):
            return evaluator.evaluate(node, scope) != _REQUEST
        if isinstance(node, cst.Arg):
            return self._may_fail(node.value, scope)
        if isinstance(node, cst.Name):
            is_known = find(node.value, scope) is not None or bool(scope.root.stars)
            return not (is_known or hasattr(builtins, node.value))
        if isinstance(node, cst.Attribute):
            is_of_request = evaluator.evaluate(node.value, scope) == _REQUEST
            is_property = not is_of_request and evaluator.uses.is_property(node.attr.value)
            return is_property or self._may_fail(node.value, scope)
        return any(self._may_fail(one, scope) for one in node.children)

    def visit_Subscript(self, node: cst.Subscript) -> None:  # noqa: N802
        if self._targets.of(node, Kind.EVALUATION) is not None and _acts(node.value, _OWNERS):
            self.found.add(node)

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:  # noqa: N802
        self.found.update(_parts(node.target))

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:  # noqa: N802
        self.found.add(node.target)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:  # noqa: N802
        self.found.add(node.target)

    def visit_Del(self, node: cst.Del) -> None:  # noqa: N802
        self.found.update(_parts(node.target))

    def visit_For(self, node: cst.For) -> None:  # noqa: N802
        self.found.update(_parts(node.target))

    def visit_AsName(self, node: cst.AsName) -> None:  # noqa: N802
        self.found.update(_parts(node.name))

    def visit_Tuple(self, node: cst.Tuple) -> None:  # noqa: N802
        # Without brackets, it may be assigned to several names.
        if not node.lpar:
            self._keep_elements(node)

    def visit_Set(self, node: cst.Set) -> None:  # noqa: N802
        # `{}` is no set.
        self._keep_elements(node)

    def _keep_elements(self, node: cst.Tuple | cst.Set) -> None:
        found = (self._targets.of(one.value, Kind.PERMISSION) for one in node.elements)
        self.found.update(one.place.node for one in found if one is not None)

    def visit_FormattedStringExpression(  # noqa: N802
        self, node: cst.FormattedStringExpression
    ) -> None:
        # `f"{x=}"` shows the code.
        if node.equal is not None:
            self._drop_all(node)

    def visit_GeneratorExp(self, node: cst.GeneratorExp) -> None:  # noqa: N802
        # Its `await` makes it asynchronous.
        if m.findall(node, m.Await()):
            self._drop_all(node)

    def visit_IfExp(self, node: cst.IfExp) -> None:  # noqa: N802
        self._drop_yields(node)

    def visit_BooleanOperation(self, node: cst.BooleanOperation) -> None:  # noqa: N802
        self._drop_yields(node)

    def _drop_yields(self, node: cst.BaseExpression) -> None:
        # A `yield` makes its function a generator.
        if m.findall(node, m.Yield()):
            self._drop_all(node)

    def _drop_all(self, node: cst.CSTNode) -> None:
        self.found.update(m.findall(node, m.Call() | m.Subscript()))


def _acts(node: cst.BaseExpression, pure: frozenset[str] = _PURE) -> bool:
    """Whether an expression may do something, or bind a name."""
    if m.findall(node, m.NamedExpr() | m.Await() | m.Yield()):
        return True
    calls = m.findall(node, m.Call())
    return any(isinstance(one, cst.Call) and last_name(one.func) not in pure for one in calls)


def _parts(target: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    if isinstance(target, cst.Tuple | cst.List):
        for element in target.elements:
            yield from _parts(element.value)
    else:
        yield target
