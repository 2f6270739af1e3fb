"""The allowed users of a flag in the admin.

A flag can have 100,000 of them, so its page shows a panel, and a page of their own changes them.
Only the page that adds a flag has an input.
"""

from __future__ import annotations

from flagstaff.admin.allowed_users.input import AllowedUsersInputMixin
from flagstaff.admin.allowed_users.page import AllowedUsersPageMixin
from flagstaff.admin.allowed_users.panel import AllowedUsersPanelMixin

__all__ = ["AllowedUsersMixin"]


class AllowedUsersMixin(AllowedUsersPanelMixin, AllowedUsersInputMixin, AllowedUsersPageMixin):
    """Put it before SavingMixin and ModelAdmin."""
