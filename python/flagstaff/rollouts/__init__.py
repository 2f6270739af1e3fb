"""Rollout plans: raise the rollout of a flag step by step, with guards that stop it.

An app of its own: add "flagstaff.rollouts" to INSTALLED_APPS, and run `manage.py flags run-jobs`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagstaff.rollouts.plans import create, delete, jump, pause, resume, rollback, start

__all__ = ["create", "delete", "jump", "pause", "resume", "rollback", "start"]


# Imported on first use: Django imports this package before the models can be imported.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("flagstaff.rollouts.plans"), name)
    return value
