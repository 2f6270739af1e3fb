"""Experiments: give each user one of several variants, and measure what they do.

An app of its own: add "flagstaff.experiments" to INSTALLED_APPS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagstaff._core import get_variant, peek_variant
    from flagstaff.experiments.analysis import set_metrics
    from flagstaff.experiments.assigning import force, set_weights, shuffle
    from flagstaff.experiments.explain import explain_variant
    from flagstaff.experiments.lifecycle import create, delete, start, stop
    from flagstaff.experiments.report_json import report
    from flagstaff.experiments.retention import prune
    from flagstaff.experiments.shipping import ship

__all__ = [
    "create",
    "delete",
    "explain_variant",
    "force",
    "get_variant",
    "peek_variant",
    "prune",
    "report",
    "set_metrics",
    "set_weights",
    "ship",
    "shuffle",
    "start",
    "stop",
]

_MODULES = {
    "create": "lifecycle",
    "delete": "lifecycle",
    "explain_variant": "explain",
    "force": "assigning",
    "prune": "retention",
    "report": "report_json",
    "set_metrics": "analysis",
    "set_weights": "assigning",
    "ship": "shipping",
    "shuffle": "assigning",
    "start": "lifecycle",
    "stop": "lifecycle",
}


# Imported on first use: Django imports this package before the models can be imported.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # The others are in the extension.
    path = f"flagstaff.experiments.{_MODULES[name]}" if name in _MODULES else "flagstaff._core"
    module = import_module(path)
    value = globals()[name] = getattr(module, name)
    return value
