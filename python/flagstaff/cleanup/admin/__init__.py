"""The admin of stale flags: a page with all of them, and what the pages of flags show."""

from __future__ import annotations

from flagstaff.admin.lazy import register
from flagstaff.cleanup.models import Snooze

register(Snooze, "flagstaff.cleanup.admin.page.StaleFlagsAdmin")
