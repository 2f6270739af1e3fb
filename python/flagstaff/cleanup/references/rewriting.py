"""The code of a module with flags resolved: conditions, decorators, overrides and imports."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import libcst as cst
import libcst.matchers as m

from flagstaff.cleanup.references.branches import ResolvesBranches
from flagstaff.cleanup.references.imports import Unused, without_unused_imports
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.naming import last_name
from flagstaff.cleanup.references.removing import RemovesMixins, RemovesNeedless
from flagstaff.cleanup.references.resolving import ResolvesExpressions
from flagstaff.cleanup.references.scopes import Scope, find
from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.values import Object
from flagstaff.cleanup.references.variables import variables_in


class _Rewriting(RemovesNeedless, RemovesMixins, ResolvesBranches, ResolvesExpressions):
    """All parts at once."""


def rewritten(
    tree: cst.Module, targets: Targets, unused: Unused | None = None
) -> tuple[str, set[Target]]:
    """Returns the new code, and the places that are resolved in it.

    `unused` decides about imports of names that the new code does not use. The code is unchanged
    if the new one would not be valid Python. A place stays if without it, a name of its function
    would have another scope, or the function another docstring.
    """
    if not targets.by_node:
        return tree.code, set()
    drop_inexact(tree, targets)
    while targets.by_node:
        code, done = _rewritten(tree, targets, unused)
        try:
            changed = changed_scopes(tree.code, code)
        except SyntaxError:
            # It is written for another version of Python.
            break
        if not changed:
            return code, done
        if not targets.drop_in(changed):
            break
    return tree.code, set()


def _rewritten(
    tree: cst.Module, targets: Targets, unused: Unused | None
) -> tuple[str, set[Target]]:
    variables = variables_in(tree, targets)
    # `return(True and x)` needs its brackets: without them, there would be no space.
    for keeps_brackets in (False, True):
        try:
            transformer = _Rewriting(targets, variables, keeps_brackets=keeps_brackets)
            changed = tree.visit(transformer)
            code = without_unused_imports(tree, changed, unused).code
            # Unlike a parser, this knows that each `nonlocal` needs a binding.
            compile(code, "<patched>", "exec", dont_inherit=True)
        except (SyntaxError, cst.CSTValidationError, ValueError, RecursionError):
            continue
        return code, transformer.done
    return tree.code, set()


_Shape = TypeVar("_Shape")
#: By the names of the functions and classes around one and its own, joined by dots.
_ByName: TypeAlias = dict[str, list[_Shape]]


def changed_scopes(before: str, after: str) -> set[str]:
    """Returns the functions and classes that have other scopes or docstrings in the new code.

    A name that only a removed branch assigns is local before, and may be a global one afterwards.
    The module itself has the name "". Raises SyntaxError for code that is not valid.
    """
    symbols = _differences(_symbols(before), _symbols(after), _has_same_scopes)
    docstrings = _differences(_docstrings(before), _docstrings(after), str.__eq__)
    return {*symbols, *docstrings}


def _differences(
    before: _ByName[_Shape], after: _ByName[_Shape], is_same: Callable[[_Shape, _Shape], bool]
) -> Iterator[str]:
    for name, new in after.items():
        old = before.get(name, [])
        if len(old) == len(new):
            pairs = zip(old, new, strict=True)
            if not all(is_same(one, other) for one, other in pairs):
                yield name
        elif not all(any(is_same(one, other) for one in old) for other in new):
            yield name


def _symbols(code: str) -> _ByName[dict[str, str]]:
    found: _ByName[dict[str, str]] = {}
    waiting = [("", symtable.symtable(code, "<code>", "exec"))]
    while waiting:
        around, table = waiting.pop(0)
        for child in table.get_children():
            name = f"{around}.{child.get_name()}".lstrip(".")
            scopes = {symbol.get_name(): _scope(symbol) for symbol in child.get_symbols()}
            found.setdefault(name, []).append(scopes)
            waiting.append((name, child))
    return found


def _scope(symbol: symtable.Symbol) -> str:
    if symbol.is_local():
        return "local"
    return "free" if symbol.is_free() else "global"


def _has_same_scopes(before: dict[str, str], after: dict[str, str]) -> bool:
    return all(before.get(name, scope) == scope for name, scope in after.items())


def _docstrings(code: str) -> _ByName[str]:
    found: _ByName[str] = {}
    waiting: list[tuple[str, ast.AST]] = [("", ast.parse(code))]
    while waiting:
        name, node = waiting.pop(0)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(node, ast.Module):
                name = f"{name}.{node.name}".lstrip(".")
            found.setdefault(name, []).append(ast.get_docstring(node, clean=False) or "")
        waiting += [(name, child) for child in ast.iter_child_nodes(node)]
    return found


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
        found = (self._targets.of(element.value, Kind.PERMISSION) for element in node.elements)
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
    return any(isinstance(call, cst.Call) and last_name(call.func) not in pure for call in calls)


def _parts(target: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    if isinstance(target, cst.Tuple | cst.List):
        for element in target.elements:
            yield from _parts(element.value)
    else:
        yield target
