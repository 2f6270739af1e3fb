"""Experiments: give each unit one of several variants, and measure what they do.

An app of its own: add "flagstaff.experiments" to INSTALLED_APPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff._core import get_variant
    from flagstaff.experiments.assigning import force, set_weights, shuffle
    from flagstaff.experiments.editing import edit
    from flagstaff.experiments.explain import explain_variant, peek_variant, resolve_variant
    from flagstaff.experiments.lifecycle import create, delete, ship, start, stop
    from flagstaff.experiments.metric_settings import set_metrics
    from flagstaff.experiments.report_json import report
    from flagstaff.experiments.retention import prune
    from flagstaff.experiments.undoing import undo

__all__ = [
    "create",
    "delete",
    "edit",
    "explain_variant",
    "force",
    "get_variant",
    "peek_variant",
    "prune",
    "report",
    "resolve_variant",
    "set_metrics",
    "set_weights",
    "ship",
    "shuffle",
    "start",
    "stop",
    "undo",
]

_MODULES = {
    "create": "flagstaff.experiments.lifecycle",
    "delete": "flagstaff.experiments.lifecycle",
    "edit": "flagstaff.experiments.editing",
    "explain_variant": "flagstaff.experiments.explain",
    "force": "flagstaff.experiments.assigning",
    "get_variant": "flagstaff._core",
    "peek_variant": "flagstaff.experiments.explain",
    "prune": "flagstaff.experiments.retention",
    "report": "flagstaff.experiments.report_json",
    "resolve_variant": "flagstaff.experiments.explain",
    "set_metrics": "flagstaff.experiments.metric_settings",
    "set_weights": "flagstaff.experiments.assigning",
    "ship": "flagstaff.experiments.lifecycle",
    "shuffle": "flagstaff.experiments.assigning",
    "start": "flagstaff.experiments.lifecycle",
    "stop": "flagstaff.experiments.lifecycle",
    "undo": "flagstaff.experiments.undoing",
}

__getattr__ = lazy_names(__name__, _MODULES)
