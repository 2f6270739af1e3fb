"""The history: who changed what, when, from where and why."""

from __future__ import annotations

from flagstaff._tables.rows import Kind
from flagstaff.history.export import as_csv, as_dicts
from flagstaff.history.log import (
    Change,
    Difference,
    Event,
    Users,
    events,
    flag_version,
    require_history,
    segment_version,
    unreadable_kinds,
    value_version,
)
from flagstaff.history.retention import forget_user, prune

__all__ = [
    "Change",
    "Difference",
    "Event",
    "Kind",
    "Users",
    "as_csv",
    "as_dicts",
    "events",
    "flag_version",
    "forget_user",
    "prune",
    "require_history",
    "segment_version",
    "unreadable_kinds",
    "value_version",
]
