"""The guards of a rollout plan."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Guard"]


@dataclass(frozen=True)
class Guard:
    """A condition that a plan watches: "errors", "latency" or "callable"."""

    kind: str
    limit: float = 2.0
    tolerated: float = 1.0
    action: str = "rollback"
    #: A slower request counts as a failure of a latency guard.
    seconds: float | None = None
    #: The dotted path of a callable guard.
    path: str | None = None
