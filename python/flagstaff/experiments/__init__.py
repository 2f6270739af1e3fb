"""Experiments: give each unit one of several variants, and measure what they do.

An app of its own: add "flagstaff.experiments" to INSTALLED_APPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff._core import get_variant
    from flagstaff.experiments.editing import add_metric, edit, force, grow, restart
    from flagstaff.experiments.explain import explain_variant, peek_variant, resolve_variant
    from flagstaff.experiments.lifecycle import create, delete, ship, start, stop, undo
    from flagstaff.experiments.reporting import report
    from flagstaff.experiments.retention import prune

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

_MODULES = {
    "add_metric": "flagstaff.experiments.editing",
    "create": "flagstaff.experiments.lifecycle",
    "delete": "flagstaff.experiments.lifecycle",
    "edit": "flagstaff.experiments.editing",
    "explain_variant": "flagstaff.experiments.explain",
    "force": "flagstaff.experiments.editing",
    "get_variant": "flagstaff._core",
    "grow": "flagstaff.experiments.editing",
    "peek_variant": "flagstaff.experiments.explain",
    "prune": "flagstaff.experiments.retention",
    "report": "flagstaff.experiments.reporting",
    "resolve_variant": "flagstaff.experiments.explain",
    "restart": "flagstaff.experiments.editing",
    "ship": "flagstaff.experiments.lifecycle",
    "start": "flagstaff.experiments.lifecycle",
    "stop": "flagstaff.experiments.lifecycle",
    "undo": "flagstaff.experiments.lifecycle",
}

__getattr__ = lazy_names(__name__, _MODULES)
