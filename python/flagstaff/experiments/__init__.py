"""Experiments: give each user one of several variants, and measure what they do.

An app of its own: add "flagstaff.experiments" to INSTALLED_APPS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagstaff._core import get_variant, peek_variant
    from flagstaff.experiments.explain import explain_variant
    from flagstaff.experiments.lifecycle import (
        create,
        delete,
        force,
        set_metrics,
        set_weights,
        ship,
        shuffle,
        start,
        stop,
    )

__all__ = [
    "create",
    "delete",
    "explain_variant",
    "force",
    "get_variant",
    "peek_variant",
    "set_metrics",
    "set_weights",
    "ship",
    "shuffle",
    "start",
    "stop",
]

_LIFECYCLE = "flagstaff.experiments.lifecycle"
_MODULES = {
    "explain_variant": "flagstaff.experiments.explain",
    "get_variant": "flagstaff._core",
    "peek_variant": "flagstaff._core",
}


# Imported on first use: Django imports this package before the models can be imported.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULES.get(name, _LIFECYCLE))
    value = globals()[name] = getattr(module, name)
    return value
