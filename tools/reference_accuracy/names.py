"""The names of django-waffle that take a key, and which local names stand for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["ATTRIBUTES", "KINDS", "bindings", "qualified"]

EVALUATION, DECORATOR, TEST = "evaluation", "decorator", "test"

#: The kind of place by the name of a function.
KINDS = {
    "waffle.flag_is_active": EVALUATION,
    "waffle.switch_is_active": EVALUATION,
    "waffle.sample_is_active": EVALUATION,
    "waffle.decorators.waffle_flag": DECORATOR,
    "waffle.decorators.waffle_switch": DECORATOR,
    "waffle.testutils.override_flag": TEST,
    "waffle.testutils.override_switch": TEST,
    "waffle.testutils.override_sample": TEST,
}
#: The class attribute of each mixin.
ATTRIBUTES = {
    "waffle.mixins.WaffleFlagMixin": "waffle_flag",
    "waffle.mixins.WaffleSwitchMixin": "waffle_switch",
    "waffle.mixins.WaffleSampleMixin": "waffle_sample",
}
_MODULES = {"waffle", "waffle.decorators", "waffle.mixins", "waffle.testutils"}


def bindings(tree: ast.Module) -> dict[str, str]:
    """Returns the local names that stand for django-waffle and its members."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES and not node.level:
            found.update(_imported_names(node))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in _MODULES:
                    found[alias.asname or "waffle"] = alias.name if alias.asname else "waffle"
    return found


def qualified(node: ast.AST, names: dict[str, str]) -> str | None:
    """Returns the full name that an expression stands for, or None."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and (value := qualified(node.value, names)):
        return f"{value}.{node.attr}"
    return None


def _imported_names(node: ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Yields the local and the full name of each import."""
    for alias in node.names:
        if alias.name != "*":
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
            continue
        for full in (*KINDS, *ATTRIBUTES):
            module, _, name = full.rpartition(".")
            if module == node.module:
                yield name, full
