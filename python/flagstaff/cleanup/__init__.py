"""Clean-up: find flags that are probably no longer needed, and the code that evaluates them.

An app of its own: add "flagstaff.cleanup" to INSTALLED_APPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagstaff import lazy_names

if TYPE_CHECKING:
    from flagstaff.cleanup.stale import stale_flags

__all__ = ["stale_flags"]

__getattr__ = lazy_names(__name__, {"stale_flags": "flagstaff.cleanup.stale"})
