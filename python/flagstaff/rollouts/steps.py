"""The steps of a rollout plan."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """One rollout percentage, and how long it stays at least."""

    percent: int
    seconds: float
