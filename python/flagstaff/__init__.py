"""Feature flags, kill switches and settings, kept in PostgreSQL and answered from memory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagstaff._core import all_flags, flag_enabled, get_value, snapshot
    from flagstaff.acting import acting_as
    from flagstaff.asked import usage
    from flagstaff.confirmation import confirm
    from flagstaff.direct import read_own_writes
    from flagstaff.engine import aready, ready, refresh
    from flagstaff.explanation import explain
    from flagstaff.forecast import impact
    from flagstaff.reporting import status

__all__ = [
    "acting_as",
    "all_flags",
    "aready",
    "confirm",
    "explain",
    "flag_enabled",
    "get_value",
    "impact",
    "read_own_writes",
    "ready",
    "refresh",
    "snapshot",
    "status",
    "usage",
]

# Looked up on first use: the pytest plugin lives in this package, and must import neither Django
# nor the extension before the project's settings are chosen.
_HOMES = {
    "acting_as": "flagstaff.acting",
    "all_flags": "flagstaff._core",
    "aready": "flagstaff.engine",
    "confirm": "flagstaff.confirmation",
    "explain": "flagstaff.explanation",
    "flag_enabled": "flagstaff._core",
    "get_value": "flagstaff._core",
    "impact": "flagstaff.forecast",
    "read_own_writes": "flagstaff.direct",
    "ready": "flagstaff.engine",
    "refresh": "flagstaff.engine",
    "snapshot": "flagstaff._core",
    "status": "flagstaff.reporting",
    "usage": "flagstaff.asked",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
