"""The names of django-waffle, what replaces them, and which local names stand for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["ATTRIBUTES", "MODULES", "REPLACED", "bindings", "imported_names", "qualified"]

EVALUATION, DECORATOR, MIXIN, TEST = "evaluation", "decorator", "mixin", "test"

#: The kind of place, and the name in flagstaff.
REPLACED: dict[str, tuple[str, str]] = {
    "waffle.flag_is_active": (EVALUATION, "flagstaff.flag_enabled"),
    "waffle.switch_is_active": (EVALUATION, "flagstaff.flag_enabled"),
    "waffle.sample_is_active": (EVALUATION, "flagstaff.flag_enabled"),
    "waffle.decorators.waffle_flag": (DECORATOR, "flagstaff.decorators.flag_required"),
    "waffle.decorators.waffle_switch": (DECORATOR, "flagstaff.decorators.flag_required"),
    "waffle.mixins.WaffleFlagMixin": (MIXIN, "flagstaff.mixins.FlagRequiredMixin"),
    "waffle.mixins.WaffleSwitchMixin": (MIXIN, "flagstaff.mixins.FlagRequiredMixin"),
    "waffle.mixins.WaffleSampleMixin": (MIXIN, "flagstaff.mixins.FlagRequiredMixin"),
    "waffle.testutils.override_flag": (TEST, "flagstaff.testing.override_flag"),
    "waffle.testutils.override_switch": (TEST, "flagstaff.testing.override_flag"),
    "waffle.testutils.override_sample": (TEST, "flagstaff.testing.override_flag"),
}
MODULES = {
    "waffle": "flagstaff",
    "waffle.decorators": "flagstaff.decorators",
    "waffle.mixins": "flagstaff.mixins",
    "waffle.testutils": "flagstaff.testing",
}
#: The class attribute of each mixin.
ATTRIBUTES = {
    "waffle.mixins.WaffleFlagMixin": "waffle_flag",
    "waffle.mixins.WaffleSwitchMixin": "waffle_switch",
    "waffle.mixins.WaffleSampleMixin": "waffle_sample",
}


def imported_names(node: ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Yields the local and the full name of what a `from` import of django-waffle imports."""
    for alias in node.names:
        if alias.name != "*":
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
            continue
        for full in REPLACED:
            if full.rpartition(".")[0] == node.module:
                yield full.rpartition(".")[2], full


def bindings(tree: ast.Module) -> dict[str, str]:
    """Returns the local names that stand for django-waffle and its members."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES and not node.level:
            found.update(imported_names(node))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in MODULES:
                    found[alias.asname or "waffle"] = alias.name if alias.asname else "waffle"
    return found


def qualified(node: ast.AST, names: dict[str, str]) -> str | None:
    """Returns the full name that an expression stands for, or None."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and (value := qualified(node.value, names)):
        return f"{value}.{node.attr}"
    return None
