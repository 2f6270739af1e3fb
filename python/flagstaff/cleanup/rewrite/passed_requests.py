"""What the callers of a function pass as its request: may it be None, or made by hand?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias, cast

from flagstaff.cleanup.references.naming import is_of_tests, is_request_name
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.scopes import FunctionScope
from flagstaff.cleanup.rewrite.made_requests import parsed

_FunctionDef: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Scope: TypeAlias = _FunctionDef | ast.ClassDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Django calls these methods of views. Other objects have methods of the same names.
_OF_VIEWS = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "options", "trace", "dispatch", "setup"}
)
_MADE = re.compile(r"(?i)request|mock|namespace|factory|fake|stub|dummy|\brf\b")
# A test client's response has the request that has passed the middleware.
_REAL = "wsgi_request"
_MAX_CALLERS = 60


@dataclass(frozen=True)
class _Parameter:
    """The parameter of a function, and its place among the arguments of a call."""

    function: str
    name: str
    position: int | None


@dataclass(frozen=True)
class _Call:
    """The arguments that a function gets."""

    path: str
    line: int
    args: Sequence[ast.expr]
    keywords: Sequence[ast.keyword]
    #: The classes and functions around it.
    around: tuple[_Scope, ...]
    #: It is called by its own name, and not as an attribute of something.
    is_exact: bool
    #: The names whose assignments are being followed.
    followed: frozenset[str] = frozenset()

    def argument(self, wanted: _Parameter) -> ast.expr | None:
        """Returns what is passed for a parameter."""
        for one in self.keywords:
            if one.arg == wanted.name:
                return one.value
        at = wanted.position
        return self.args[at] if at is not None and at < len(self.args) else None


class PassedRequests:
    """Compares functions by their names: it may see a call of another function."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._calls_in = cache(_calls_in)

    def made_for(self, function: FunctionScope, name: str) -> str | None:
        """Returns the place of a call that passes no request of a view for a parameter."""
        if "sender" in function.parameters or function.name.endswith("authenticate"):
            # Django's test client sends signals and authenticates with a request of its own.
            return "django.test.Client"
        known = function.parameters
        own = _called_as(function.name.split("."))
        new = [_Parameter(own, name, known.index(name) if name in known else None)]
        new += self._decorated(function, new[0].position)
        seen = set(new)
        while new:
            wanted = new.pop()
            for call in self._calls_of(wanted):
                value = call.argument(wanted)
                for source in _sources(value, call) if value is not None else ():
                    if source is None or len(seen) > _MAX_CALLERS:
                        return f"{call.path}:{call.line}"
                    if source not in seen:
                        seen.add(source)
                        new.append(source)
        return None

    def _decorated(self, inner: FunctionScope, position: int | None) -> Iterator[_Parameter]:
        """Yields the parameters of the functions that a function in a decorator replaces."""
        decorator = inner.name.partition(".")[0]
        if position is None or not isinstance(inner.parent, FunctionScope):
            return
        for path in self._project.paths_mentioning(decorator):
            for node, around in _below(parsed(path)):
                if not isinstance(node, _FUNCTIONS):
                    continue
                decorators = [getattr(one, "func", one) for one in node.decorator_list]
                if any(ast.unparse(one).rpartition(".")[2] == decorator for one in decorators):
                    names = _parameters(node, around)
                    if position < len(names):
                        own = _called_as([*(one.name for one in around), node.name])
                        yield _Parameter(own, names[position], position)

    def _calls_of(self, wanted: _Parameter) -> Iterator[_Call]:
        if wanted.function in _OF_VIEWS:
            return
        for path in self._project.paths_mentioning(wanted.function):
            yield from self._calls_in(path).get(wanted.function, ())


def _called_as(names: Sequence[str]) -> str:
    """Returns the name by which code calls a function: for `__init__`, that of its class."""
    return names[-2] if names[-1] == "__init__" and len(names) > 1 else names[-1]


def _calls_in(path: str) -> dict[str, list[_Call]]:
    """Returns the calls of a file, by the last part of what is called."""
    found: dict[str, list[_Call]] = {}
    for node, around in _below(parsed(path)):
        if not isinstance(node, ast.Call):
            continue
        whole = [(node.func, node.args)]
        # `partial(function, request)`, `sync_to_async(function)(request)`.
        whole += [(one, node.args[at:]) for at, one in enumerate(node.args, start=1)]
        if isinstance(node.func, ast.Call):
            whole += [(one, node.args) for one in node.func.args]
        for called, args in whole:
            if isinstance(called, ast.Name | ast.Attribute):
                is_exact = isinstance(called, ast.Name)
                name = called.id if isinstance(called, ast.Name) else called.attr
                call = _Call(path, node.lineno, args, node.keywords, around, is_exact)
                found.setdefault(name, []).append(call)
    return found


def _below(tree: ast.Module) -> Iterator[tuple[ast.AST, tuple[_Scope, ...]]]:
    """Yields the nodes of a module, with the classes and functions around each."""
    waiting: list[tuple[ast.AST, tuple[_Scope, ...]]] = [(tree, ())]
    while waiting:
        node, around = waiting.pop()
        yield node, around
        inner = (*around, node) if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) else around
        waiting += [(child, inner) for child in ast.iter_child_nodes(node)][::-1]


def _parameters(function: _FunctionDef, around: Sequence[_Scope]) -> list[str]:
    """Returns the positional parameters of a function, without `self`."""
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    is_method = bool(around) and isinstance(around[-1], ast.ClassDef)
    return names[1:] if is_method and names[:1] in (["self"], ["cls"]) else names


def _sources(value: ast.expr, call: _Call) -> Iterator[_Parameter | None]:
    """Yields the parameters that a value comes from, and None for one that is made up."""
    match value:
        case ast.Constant() | ast.Call():
            if call.is_exact or _is_made(value):
                yield None
        case ast.IfExp():
            yield from (*_sources(value.body, call), *_sources(value.orelse, call))
        case ast.BoolOp():
            for one in value.values:
                yield from _sources(one, call)
        case ast.Name() if call.is_exact or is_request_name(value.id):
            yield from _sources_of_name(value.id, call)
        case ast.Attribute() if is_request_name(value.attr) and value.attr != _REAL:
            yield from _sources_of_attribute(value, call)
        case _:
            return


def _is_made(value: ast.Constant | ast.Call) -> bool:
    if isinstance(value, ast.Constant):
        return not value.value
    # `kwargs.pop("request", None)`
    is_named = "'request'" in ast.unparse(value)
    return is_named or _MADE.search(ast.unparse(value.func)) is not None


def _sources_of_name(name: str, call: _Call) -> Iterator[_Parameter | None]:
    for at in range(len(call.around) - 1, -1, -1):
        function = call.around[at]
        if isinstance(function, ast.ClassDef):
            continue
        values = list(_assigned(function, ast.Name, name))
        for value in values:
            yield from _followed(name, value, call)
        names = _parameters(function, call.around[:at])
        if name in (*names, *(one.arg for one in function.args.kwonlyargs)):
            yield from _sources_of_parameter(name, names, call, at)
            return
        if values:
            return
    if is_of_tests(call.path):
        yield None


def _sources_of_parameter(
    name: str, names: Sequence[str], call: _Call, at: int
) -> Iterator[_Parameter | None]:
    function = cast("_FunctionDef", call.around[at])
    if is_of_tests(call.path) or "sender" in names:
        # A fixture, or a receiver of a signal.
        yield None
    only = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    with_default = {arg.arg for arg, default in only if default is not None}
    count = len(function.args.defaults)
    if name in with_default | {*names[len(names) - count :]}:
        yield None
    own = _called_as([one.name for one in call.around[: at + 1]])
    yield _Parameter(own, name, names.index(name) if name in names else None)


def _sources_of_attribute(value: ast.Attribute, call: _Call) -> Iterator[_Parameter | None]:
    """Yields what the class around assigns to `self.request`."""
    if is_of_tests(call.path):
        yield None
    owner = value.value
    classes = [one for one in call.around if isinstance(one, ast.ClassDef)]
    if not isinstance(owner, ast.Name) or owner.id != "self" or not classes:
        return
    for method in classes[-1].body:
        if isinstance(method, _FUNCTIONS):
            place = call.around.index(classes[-1]) + 1
            there = replace(call, around=(*call.around[:place], method), is_exact=True)
            for one in _assigned(method, ast.Attribute, value.attr):
                yield from _followed(f"self.{value.attr}", one, there)


def _followed(name: str, value: ast.expr, call: _Call) -> Iterator[_Parameter | None]:
    if name not in call.followed:
        yield from _sources(value, replace(call, followed=call.followed | {name}))


def _assigned(
    function: _FunctionDef, kind: type[ast.Name | ast.Attribute], name: str
) -> Iterator[ast.expr]:
    """Yields what a function assigns to variables or attributes of this name."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            targets = [node.target]
        else:
            continue
        for target in targets:
            own = getattr(target, "id", getattr(target, "attr", None))
            if isinstance(target, kind) and own == name and node.value is not None:
                yield node.value
