"""Flags that are probably no longer needed, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff.stale.facts import stale_flags

__all__ = ["stale_flags"]

__getattr__ = lazy_names(__name__, {"stale_flags": "flagstaff.stale.facts"})
