"""The page of keys that are evaluated without a flag, and what the add page says of such a key."""

from __future__ import annotations

from flagstaff.admin.unknown_keys.page import UnknownKeysAdmin

__all__ = ["UnknownKeysAdmin"]
