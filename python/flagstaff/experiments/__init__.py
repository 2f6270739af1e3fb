"""Experiments: give each unit one of several variants, and measure what they do.

An app of its own: add "flagstaff.experiments" to INSTALLED_APPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff._core import get_variant
    from flagstaff.experiments.editing import add_metric, create, edit, force, grow, restart
    from flagstaff.experiments.explain import explain_variant, peek_variant, resolve_variant
    from flagstaff.experiments.jobs import prune
    from flagstaff.experiments.lifecycle import delete, ship, start, stop, undo
    from flagstaff.experiments.reporting import report

__all__ = [
    "add_metric",
    "create",
    "delete",
    "edit",
    "explain_variant",
    "force",
    "get_variant",
    "grow",
    "peek_variant",
    "prune",
    "report",
    "resolve_variant",
    "restart",
    "ship",
    "start",
    "stop",
    "undo",
]

_EDITING = ("add_metric", "create", "edit", "force", "grow", "restart")
_LIFECYCLE = ("delete", "ship", "start", "stop", "undo")
_EXPLAIN = ("explain_variant", "peek_variant", "resolve_variant")
_MODULES = {
    **dict.fromkeys(_EDITING, "flagstaff.experiments.editing"),
    **dict.fromkeys(_LIFECYCLE, "flagstaff.experiments.lifecycle"),
    **dict.fromkeys(_EXPLAIN, "flagstaff.experiments.explain"),
    "get_variant": "flagstaff._core",
    "prune": "flagstaff.experiments.jobs",
    "report": "flagstaff.experiments.reporting",
}

__getattr__ = lazy_names(__name__, _MODULES)
