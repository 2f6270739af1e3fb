"""The places of django-waffle in one file, found without the package that is measured."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.reference_accuracy.names import ATTRIBUTES, KINDS, bindings, qualified

__all__ = ["Found", "in_python", "in_template"]

_KEYS = ("flag_name", "switch_name", "sample_name", "name")
_LOAD = re.compile(r"{%-?\s*load\s[^%]*?\bwaffle_tags\b")
_KEY = r"\s*(?:\"([^\"]*)\"|'([^']*)'|"
_TAG = re.compile(rf"{{%-?\s*(?:flag|switch|sample)\s{_KEY}\S+)")
_JINJA = re.compile(rf"\bwaffle\.(?:flag|switch|sample)\({_KEY}[^)]*)")


@dataclass(frozen=True)
class Found:
    """A place before its key is resolved."""

    node: ast.expr | ast.stmt
    kind: str
    key: ast.expr


def in_python(tree: ast.Module) -> Iterator[Found]:
    """Yields the places of a Python file, in no order."""
    names = bindings(tree)
    for node in ast.walk(tree) if names else ():
        if isinstance(node, ast.Call):
            full = qualified(node.func, names)
            key = _key(full, node) if full in KINDS else None
            if full is not None and key is not None:
                yield Found(node, KINDS[full], key)
        elif isinstance(node, ast.ClassDef):
            yield from _attributes(node, names)


def in_template(text: str) -> list[tuple[int, str | None]]:
    """Returns the line and the key of each place of a template; None for a variable."""
    pattern = _TAG if _LOAD.search(text) else _JINJA
    return [
        (text.count("\n", 0, found.start()) + 1, found[1] or found[2] or None)
        for found in pattern.finditer(text)
    ]


def _attributes(node: ast.ClassDef, names: dict[str, str]) -> Iterator[Found]:
    bases = [qualified(base, names) for base in node.bases]
    attributes = {ATTRIBUTES[full] for full in bases if full in ATTRIBUTES}
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name), *_]) if name in attributes:
                yield Found(statement, "mixin", statement.value)


def _key(full: str | None, call: ast.Call) -> ast.expr | None:
    """Returns the expression of the key."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    position = 1 if full == "waffle.flag_is_active" else 0
    if position < len(call.args):
        return call.args[position]
    return next((k.value for k in call.keywords if k.arg in _KEYS), None)
