"""The history: who changed what, when, from where and why."""

from __future__ import annotations

from flagstaff._events import Difference, Event, Users
from flagstaff.history.export import as_csv, as_dicts
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import flag_history, segment_history, value_history
from flagstaff.history.recent import recent_events, unreadable_kinds
from flagstaff.history.retention import forget_user, prune
from flagstaff.history.versions import flag_version, segment_version, value_version

__all__ = [
    "Difference",
    "Event",
    "Kind",
    "Users",
    "as_csv",
    "as_dicts",
    "flag_history",
    "flag_version",
    "forget_user",
    "prune",
    "recent_events",
    "segment_history",
    "segment_version",
    "unreadable_kinds",
    "value_history",
    "value_version",
]
