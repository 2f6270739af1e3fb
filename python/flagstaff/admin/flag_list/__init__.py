"""The list of flags: its columns, filters and buttons."""

from __future__ import annotations

from flagstaff.admin.flag_list.mixin import FlagListMixin

__all__ = ["FlagListMixin"]
