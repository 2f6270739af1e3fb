"""Clean-up: find flags that are probably no longer needed, and the code that evaluates them.

An app of its own: add "flagstaff.cleanup" to INSTALLED_APPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagstaff.cleanup.stale import stale_flags

__all__ = ["stale_flags"]


# Django imports this package before it knows the models.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flagstaff.cleanup import stale  # noqa: PLC0415

    return getattr(stale, name)
