"""The code of a module with flags resolved: conditions, decorators, overrides and imports."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from flagstaff.cleanup.references.branching import ResolvesBranches
from flagstaff.cleanup.references.exactness import drop_inexact
from flagstaff.cleanup.references.imports import without_unused_imports
from flagstaff.cleanup.references.removing import RemovesNeedless
from flagstaff.cleanup.references.resolving import ResolvesExpressions
from flagstaff.cleanup.references.targets import Target, Targets
from flagstaff.cleanup.references.variables import variables_in
from flagstaff.cleanup.references.views import RemovesMixins

__all__ = ["rewritten"]


class _Rewriting(RemovesNeedless, RemovesMixins, ResolvesBranches, ResolvesExpressions):
    """All parts at once."""


def rewritten(
    tree: cst.Module, targets: Targets, is_needed: Callable[[str], bool] = lambda _name: False
) -> tuple[str, set[Target]]:
    """Returns the new code, and the places that are resolved in it.

    Imported names that `is_needed` stay, since another file takes them from this one.

    The code is unchanged if the new one would not be valid Python.
    """
    if not targets.by_node:
        return tree.code, set()
    drop_inexact(tree, targets)
    variables = variables_in(tree, targets)
    # `return(True and x)` needs its brackets: without them, there would be no space.
    for keeps_brackets in (False, True):
        try:
            transformer = _Rewriting(targets, variables, keeps_brackets=keeps_brackets)
            changed = tree.visit(transformer)
            code = without_unused_imports(tree, changed, is_needed).code
            # Unlike a parser, this knows that each `nonlocal` needs a binding.
            compile(code, "<patched>", "exec", dont_inherit=True)
        except (SyntaxError, cst.CSTValidationError, ValueError, RecursionError):
            continue
        return code, transformer.done
    return tree.code, set()
