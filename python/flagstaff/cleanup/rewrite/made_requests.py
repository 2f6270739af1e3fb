"""Code that may get a request that a test makes by hand, without the middleware."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from flagstaff.cleanup.references.files import LimitError, read
from flagstaff.cleanup.references.project import Project

_FACTORIES = ("RequestFactory", "HttpRequest(")
_MAKES = re.compile(r"\b(?:API|Async)?RequestFactory\b|\bHttpRequest\(")
_WORD = re.compile(r"\w+")
# Longer chains of calls are taken as reached.
_MAX_NAMES = 60


class MadeRequests:
    """Compares names as text: it may say that code is reached which is not."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._definitions: dict[str, Mapping[str, frozenset[str]]] = {}

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
        """All names in the files that make requests."""
        paths = {path for text in _FACTORIES for path in self._project.paths_mentioning(text)}
        texts = filter(_MAKES.search, map(_text, sorted(paths)))
        return frozenset(word for text in texts for word in _WORD.findall(text))

    def _callers(self, name: str) -> Iterator[str]:
        for path in self._project.paths_mentioning(name):
            if path not in self._definitions:
                self._definitions[path] = _definitions_in(path)
            for definition, names in self._definitions[path].items():
                if name in names:
                    yield definition


def _text(path: str) -> str:
    try:
        return read(path).decode("utf-8", "replace")
    except (OSError, LimitError):
        return ""


def _definitions_in(path: str) -> dict[str, frozenset[str]]:
    """Returns the names that the functions and classes of a module use, by their own."""
    try:
        tree = ast.parse(_text(path))
    except (SyntaxError, ValueError, RecursionError):
        return {}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {one.name: frozenset(_names(one)) for one in tree.body if isinstance(one, kinds)}


def _names(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr
