"""What names say: of functions, models, parameters and tests."""

from __future__ import annotations

import re

import libcst as cst

from flagstaff.cleanup.references.functions import MODELS
from flagstaff.cleanup.references.scopes import FunctionScope
from flagstaff.cleanup.references.values import Items, Text, Value

_REQUEST = re.compile(r"(?:.*_)?req(?:uest)?")


def model_of(name: str) -> str | None:
    """Returns the model of `flagstaff.models.FeatureFlag.objects.get`."""
    parts = name.split(".")
    is_model = parts[:2] == ["flagstaff", "models"] and parts[2:3] and parts[2] in MODELS
    return parts[2] if is_model else None


def imported_module(node: cst.ImportFrom, module: str, path: str) -> str:
    """Returns the dotted name of the module that `from … import` names in a file."""
    name = dotted(node.module) if node.module is not None else ""
    return absolute_name("." * len(node.relative) + name, module, path)


def absolute_name(name: str, module: str, path: str) -> str:
    """Returns the dotted name of what a file, which is this module, imports from `.name`."""
    dots = len(name) - len(name.lstrip("."))
    if not dots:
        return name
    parts = module.split(".") + (["__init__"] if path.endswith("__init__.py") else [])
    return ".".join([*parts[: max(len(parts) - dots, 0)], *filter(None, [name[dots:]])])


def is_named(module: str, name: str) -> bool:
    """Returns True if a dotted name may be that of a module, as imports write it."""
    return module == name or module.endswith(f".{name}")


def dotted(node: cst.BaseExpression) -> str:
    """Returns `a.b` of names and attributes, "" of anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        return f"{dotted(node.value)}.{node.attr.value}"
    return ""


def last_name(node: cst.BaseExpression) -> str:
    """Returns the last part of a dotted name, also of one in quotes; "" of anything else."""
    if isinstance(node, cst.SimpleString):
        return node.value.strip("\"'").rpartition(".")[2]
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def is_request_name(name: str) -> bool:
    """Returns True for the name of a variable that should be a request."""
    return _REQUEST.fullmatch(name) is not None


def is_request(node: cst.BaseExpression) -> bool:
    """Returns True for the text "request", by which the context of a template has the request."""
    return isinstance(node, cst.SimpleString) and node.raw_value == "request"


def is_test(scope: FunctionScope) -> bool:
    """Returns True if pytest may pass fixtures to the function."""
    name = scope.name.rpartition(".")[2]
    path = scope.root.path
    return name.startswith("test") or is_test_file(path) or _file(path).startswith("conftest")


def is_test_file(path: str) -> bool:
    """Returns True for a file whose name says that it has tests."""
    return _file(path).startswith("test") or path.endswith("_test.py")


def is_of_tests(path: str) -> bool:
    """Returns True for a file of tests, or one that helps them."""
    is_helper = not {"test", "tests"}.isdisjoint(path.split("/")[:-1])
    return is_helper or is_test_file(path) or _file(path).startswith("conftest")


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def key_of(value: Value) -> str | None:
    """Returns the key that a value is, or None."""
    if isinstance(value, Items) and value.keys is None and value.values:
        # The member of an enumeration with a label: its first part is the value.
        first = value.values[0]
        return key_of(first[0]) if len(first) == 1 else None
    return value.text if isinstance(value, Text) else None
