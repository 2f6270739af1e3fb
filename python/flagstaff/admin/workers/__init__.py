"""The page of the connected workers."""

from __future__ import annotations

from flagstaff.admin.workers.page import WorkersAdmin

__all__ = ["WorkersAdmin"]
