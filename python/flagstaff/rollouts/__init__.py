"""Rollout plans: raise the rollout of a flag step by step, with guards that stop it.

An app of its own: add "flagstaff.rollouts" to INSTALLED_APPS, and run `manage.py flags run-jobs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff.rollouts.plans import (
        create,
        delete,
        pause,
        resume,
        rollback,
        start,
    )

__all__ = [
    "create",
    "delete",
    "pause",
    "resume",
    "rollback",
    "start",
]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "flagstaff.rollouts.plans"))
