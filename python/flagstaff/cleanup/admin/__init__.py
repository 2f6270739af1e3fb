"""The admin of stale flags: a page with all of them, and what the pages of flags show."""

from __future__ import annotations

from django.contrib import admin

from flagstaff.cleanup.admin.page import StaleFlagsAdmin
from flagstaff.cleanup.models import Snooze

__all__ = ["StaleFlagsAdmin"]

admin.site.register(Snooze, StaleFlagsAdmin)
