"""Whether a name that a patch leaves unused may go, with its import."""

from __future__ import annotations

import ast
from pathlib import Path

import libcst as cst

from flagstaff.cleanup.references.files import LimitError, read
from flagstaff.cleanup.references.naming import imported_module
from flagstaff.cleanup.references.project import Project, module_name

__all__ = ["Unused"]

# What a module of constants may contain besides assignments: nothing that runs code of the project.
_PLAIN = (ast.Pass, ast.FunctionDef, ast.AsyncFunctionDef)
_PLAIN_CALLS = frozenset({"auto", "frozenset", "set", "tuple", "dict", "list", "_", "gettext_lazy"})
_PLAIN_BASES = frozenset(
    {"Enum", "Flag", "IntEnum", "IntFlag", "IntegerChoices", "StrEnum", "TextChoices"}
    | {"int", "object", "str"}
)
_PLAIN_IMPORTS = ("__future__", "enum", "typing", "types", "django.db.models", "django.utils")


class Unused:
    """Decides about the imported names of one file."""

    def __init__(self, project: Project, path: str) -> None:
        self._project = project
        self._path = path

    def is_needed(self, name: str) -> bool:
        """Returns True if another file may take the name from this one."""
        return self._project.is_imported(self._path, name)

    def is_constant(self, node: cst.ImportFrom, name: str) -> bool:
        """Returns True for a name that comes from a module of constants of the project.

        The import of any other module may do more than to bind a name.
        """
        own = module_name(self._path)
        module = imported_module(node, own, self._path)
        full = f"{module}.{name}"
        parts = (full if self._project.path_of(full) is not None else module).split(".")
        paths = [self._project.path_of(".".join(parts[: end + 1])) for end in range(len(parts))]
        if paths[-1] is None:
            return False
        # The packages around this file are imported anyway.
        around = {str(one / "__init__.py") for one in Path(self._path).parents}
        return all(self._is_plain(one) for one in paths if one is not None and one not in around)

    @staticmethod
    def _is_plain(path: str) -> bool:
        try:
            tree = ast.parse(read(path))
        except (OSError, LimitError, SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return all(map(_is_plain, tree.body))


def _is_plain(node: ast.stmt) -> bool:
    match node:
        case ast.Expr():
            return isinstance(node.value, ast.Constant)
        case ast.ImportFrom():
            return not node.level and (node.module or "").startswith(_PLAIN_IMPORTS)
        case ast.Import():
            return all(one.name.startswith(_PLAIN_IMPORTS) for one in node.names)
        case ast.Assign() | ast.AnnAssign():
            return node.value is None or _is_plain_value(node.value)
        case ast.ClassDef():
            bases = {getattr(one, "attr", getattr(one, "id", "")) for one in node.bases}
            is_bare = not node.decorator_list and not node.keywords
            return is_bare and bases <= _PLAIN_BASES and all(map(_is_plain, node.body))
        case _:
            return isinstance(node, _PLAIN) and not getattr(node, "decorator_list", ())


def _is_plain_value(node: ast.expr) -> bool:
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
    return all(isinstance(one.func, ast.Name) and one.func.id in _PLAIN_CALLS for one in calls)
