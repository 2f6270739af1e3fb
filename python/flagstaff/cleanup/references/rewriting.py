"""The code of a module with flags resolved: conditions, decorators, overrides and imports."""

from __future__ import annotations

import ast

import libcst as cst

from flagstaff.cleanup.references.branching import ResolvesBranches
from flagstaff.cleanup.references.imports import without_unused_imports
from flagstaff.cleanup.references.removing import RemovesNeedless
from flagstaff.cleanup.references.resolving import ResolvesExpressions
from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.variables import variables_in
from flagstaff.cleanup.references.views import RemovesMixins

__all__ = ["rewritten"]


class _Rewriting(RemovesNeedless, RemovesMixins, ResolvesBranches, ResolvesExpressions):
    """All parts at once."""


def rewritten(tree: cst.Module, targets: Targets) -> tuple[str, set[Target]]:
    """Returns the new code, and the places that are resolved in it.

    The code is unchanged if the new one would not be valid Python.
    """
    if not targets.by_node:
        return tree.code, set()
    try:
        transformer = _Rewriting(targets, variables_in(tree, targets))
        changed = tree.visit(transformer)
        code = without_unused_imports(tree, changed).code
        ast.parse(code)
    except (SyntaxError, cst.CSTValidationError, ValueError, RecursionError):
        return tree.code, set()
    return code, transformer.done
