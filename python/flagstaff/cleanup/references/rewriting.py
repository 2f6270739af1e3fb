"""The code of a module with flags resolved: conditions, decorators, overrides and imports."""

from __future__ import annotations

import libcst as cst

from flagstaff.cleanup.references.branching import ResolvesBranches
from flagstaff.cleanup.references.exactness import drop_inexact
from flagstaff.cleanup.references.imports import without_unused_imports
from flagstaff.cleanup.references.removing import RemovesNeedless
from flagstaff.cleanup.references.resolving import ResolvesExpressions
from flagstaff.cleanup.references.symbols import changed_scopes
from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.unused import Unused
from flagstaff.cleanup.references.variables import variables_in
from flagstaff.cleanup.references.views import RemovesMixins

__all__ = ["rewritten"]


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
