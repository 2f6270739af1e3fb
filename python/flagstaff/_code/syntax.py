"""Python files as syntax trees: what each scope binds, and the statements with their lines."""

from __future__ import annotations

import ast
import gc
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TypeAlias, cast

#: What has arguments.
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Import:
    """What an import statement binds to a name: a module, or a name in it."""

    module: str
    level: int
    name: str | None


Binding: TypeAlias = ast.expr | ast.ClassDef | Import | None


@dataclass
class Scope:
    """The names that a module, a class or a function binds."""

    node: ast.AST

    @cached_property
    def names(self) -> dict[str, Binding]:
        """What each name is bound to; None if that is not known, as for an argument."""
        names: dict[str, Binding] = {}
        for name, binding in _bindings(self.node):
            # Bound twice, it can be both.
            names[name] = binding if names.get(name, binding) == binding else None
        return names

    @cached_property
    def star_imports(self) -> list[Import]:
        """The modules whose names are all imported."""
        return [
            replace(binding, name=None)
            for binding in self.names.values()
            if isinstance(binding, Import) and binding.name == "*"
        ]


@dataclass(frozen=True, eq=False)
class Module:
    """A file with its syntax tree, which lacks the bodies of most functions."""

    path: Path
    lines: Sequence[str]
    tree: ast.Module
    scope: Scope
    #: The last line of a body that the tree lacks, by its first one.
    cut: Mapping[int, int]

    def first_line(self, node: ast.stmt) -> int:
        """Returns the first line of a statement, with its decorators."""
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        return min([node.lineno, *(decorator.lineno for decorator in decorators)])

    def text(self, node: ast.stmt) -> str:
        """Returns the lines of a statement."""
        end = node.end_lineno or node.lineno
        return "\n".join(self.lines[self.first_line(node) - 1 : self.cut.get(end, end)])

    def whole(self, node: ast.stmt) -> ast.stmt:
        """Returns a statement with all bodies."""
        first = self.first_line(node)
        if self.cut.keys().isdisjoint(range(first, (node.end_lineno or first) + 1)):
            return node
        # With the same lines and columns as in the file.
        above = "\n" * (first - 2) + "if 1:\n" if node.col_offset else "\n" * (first - 1)
        tree = _tree(above + self.text(node))
        statement = tree.body[0] if tree else node
        return statement.body[0] if node.col_offset and isinstance(statement, ast.If) else statement


Scopes: TypeAlias = tuple[Scope, ...]


def parsed(path: Path, text: str) -> Module | None:
    """Returns a file; None if its text is no Python."""
    short, cut = _without_bodies(f"{text}\n")
    tree = _tree(short)
    if tree is None:
        tree, cut = _tree(text), {}
    return None if tree is None else Module(path, text.split("\n"), tree, Scope(tree), cut)


# The first lines of a function, and what follows it: a line that is not deeper.
_FUNCTION = re.compile(
    r"^([ \t]*)(?:async[ \t]+)?def[ \t]+\w+(?:\([ \t]*\n(?:\1[ \t][^\n]*\n)+\1\))?[^\n]*:[ \t]*"
    r"(?:#[^\n]*)?\n",
    re.MULTILINE,
)


@cache
def _end(indent: str) -> re.Pattern[str]:
    return re.compile(rf"^(?!{indent}[ \t])[ \t]*[^\s#]|\Z", re.MULTILINE)


def _without_bodies(text: str) -> tuple[str, dict[int, int]]:
    """Returns Python with `pass` for the bodies of functions, and their last lines by their first.

    To parse them takes most of the time, and names are bound outside. The lines stay where they
    are. A body with a part of a string stays; what else this pattern takes for one does not parse.
    """
    parts, cut, kept, position, line = list[str](), dict[int, int](), 0, 0, 1
    while function := _FUNCTION.search(text, position):
        position = start = function.end()
        end = cast("re.Match[str]", _end(function[1]).search(text, start)).start()
        body = text[start:end]
        if not body or body.count('"""') % 2 or body.count("'''") % 2:
            continue
        parts += [text[kept:start], function[1], " pass", "\n" * body.count("\n")]
        first = line + text.count("\n", kept, start)
        line = first + body.count("\n")
        cut[first] = line - 1
        kept = position = end
    return "".join([*parts, text[kept:]]), cut


def _tree(text: str) -> ast.Module | None:
    """Returns the syntax tree; None if it is no Python."""
    # It would look at the new objects for a third of the time.
    is_collected = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            # Of invalid escapes in the project's strings.
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    finally:
        if is_collected:
            gc.enable()


def _bindings(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    """Yields the names that a scope binds, without those of the functions and classes in it."""
    if isinstance(node, FUNCTIONS):
        arguments = node.args
        optional = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
        for argument in (
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            *optional,
        ):
            yield argument.arg, None
    if not isinstance(node, ast.Lambda):
        body = getattr(node, "body", [])
        yield from _bound_below(body)


def _bound_below(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, Binding]]:
    for node in nodes:
        yield from _bound_by(node)
        if not isinstance(node, _SCOPES):
            for block in _BLOCKS:
                yield from _bound_below(getattr(node, block, ()))


# What statements have that contains statements, and those that have others of no interest.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
_SCOPES = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Expr)


def _bound_by(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    """Yields what a statement binds."""
    match node:
        case ast.ClassDef():
            yield node.name, node
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ExceptHandler(name=str()):
            yield str(node.name), None
        case ast.Import() | ast.ImportFrom():
            yield from imported(node)
        case ast.Assign():
            for target in node.targets:
                yield from _stored(target, node.value)
        case ast.AnnAssign(value=ast.expr()):
            yield from _stored(node.target, node.value)
        case ast.For() | ast.AsyncFor() | ast.AugAssign():
            yield from _stored(node.target)
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                yield from _stored(item.optional_vars)


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Binding]]:
    """Yields the names that an import statement binds."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            binding = Import(node.module or "", node.level, alias.name)
            # A star binds no name, but the modules with all names are kept beside them.
            is_star = alias.name == "*"
            yield f"* {binding}" if is_star else alias.asname or alias.name, binding
        elif alias.asname:
            yield alias.asname, Import(alias.name, 0, None)
        else:
            first = alias.name.partition(".")[0]
            yield first, Import(first, 0, None)


def _stored(target: ast.AST | None, value: ast.expr | None = None) -> Iterator[tuple[str, Binding]]:
    """Yields the names in the target of an assignment. Those of a tuple have no known value."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Starred):
        yield from _stored(target.value)
    for part in getattr(target, "elts", ()):
        yield from _stored(part)
