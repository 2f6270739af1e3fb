"""What optional apps add: tables, periodic jobs, verbs, and parts and events of admin pages."""

from __future__ import annotations

from flagstaff._extensions.jobs import Job, JobReport
from flagstaff._extensions.keys import key_is_taken, taken_keys
from flagstaff._extensions.optional_app import (
    EndedKey,
    OptionalApp,
    OtherRules,
    optional_apps,
)
from flagstaff._extensions.other_events import EventQuery, OtherEvent
from flagstaff._extensions.retention import Retention

__all__ = [
    "EndedKey",
    "EventQuery",
    "Job",
    "JobReport",
    "OptionalApp",
    "OtherEvent",
    "OtherRules",
    "Retention",
    "key_is_taken",
    "optional_apps",
    "taken_keys",
]
