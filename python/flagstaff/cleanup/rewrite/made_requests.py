"""Code that may get a request that is made by hand, without the middleware."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property

from flagstaff.cleanup.references.files import read_text
from flagstaff.cleanup.references.naming import is_of_tests
from flagstaff.cleanup.references.project import Project

_TEXTS = ("RequestFactory", "HttpRequest(", "rf.", "Mock(", "SimpleNamespace(")
_MAKES = re.compile(
    r"\b(?:API|Async)?RequestFactory\b|\bHttpRequest\(|\b(?:async_)?rf\.\w+\("
    r"|request\s*=\s*(?:\w+\.)*(?:\w*Mock|SimpleNamespace)\("
)
_WORD = re.compile(r"\w+")
# Longer chains of calls are taken as reached.
_MAX_NAMES = 60


class MadeRequests:
    """Compares names as text: it may say that code is reached which is not."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._definitions = cache(_definitions_in)

    def may_reach(self, name: str) -> bool:
        """Returns True if a file that makes requests names this function or class, or a caller."""
        if not self._makers:
            return False
        seen, new = {name}, [name]
        while new:
            one = new.pop()
            if one in self._makers or len(seen) > _MAX_NAMES:
                return True
            callers = {*self._callers(one)} - seen
            seen |= callers
            new += callers
        return False

    @cached_property
    def _makers(self) -> frozenset[str]:
        """All names in the files that make requests, or use the tests' classes and fixtures."""
        mentioned = {path for text in _TEXTS for path in self._project.paths_mentioning(text)}
        paths = {path for path in mentioned if _MAKES.search(read_text(path))}
        making = {
            name
            for path in paths
            for name, (code, _names) in self._definitions(path).items()
            if _MAKES.search(code)
        }
        found = set(paths)
        while making:
            new = {path for path, words in self._tests.items() if not words.isdisjoint(making)}
            using = {
                name
                for path in new
                for name, (_code, names) in self._definitions(path).items()
                if not names.isdisjoint(making)
            }
            making = using if new - found else set()
            found |= new
        return frozenset(word for path in found for word in _WORD.findall(read_text(path)))

    @cached_property
    def _tests(self) -> Mapping[str, frozenset[str]]:
        """The words of each file with tests."""
        paths = filter(is_of_tests, self._project.paths_mentioning(""))
        return {path: frozenset(_WORD.findall(read_text(path))) for path in paths}

    def _callers(self, name: str) -> Iterator[str]:
        for path in self._project.paths_mentioning(name):
            for definition, (_code, names) in self._definitions(path).items():
                if name in names:
                    yield definition


def _definitions_in(path: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Returns the code of the functions and classes of a module, and the names that they use."""
    tree = parsed(path)
    lines = read_text(path).split("\n")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        one.name: ("\n".join(lines[one.lineno - 1 : one.end_lineno]), frozenset(_names(one)))
        for one in tree.body
        if isinstance(one, kinds)
    }


def parsed(path: str) -> ast.Module:
    """Returns the tree of a file; an empty one if Python cannot read it."""
    try:
        return ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _names(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr
        elif isinstance(one, ast.arg):
            # A fixture.
            yield one.arg
