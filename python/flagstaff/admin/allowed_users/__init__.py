"""The allowed users of a flag in the admin: their own page, and a panel on the flag's page."""

from __future__ import annotations

from flagstaff.admin.allowed_users.page import AllowedUsersMixin

__all__ = ["AllowedUsersMixin"]
