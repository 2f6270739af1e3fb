"""The right to toggle flags only: it opens the pages of flags, and a part of the form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from flagstaff._tables.flag_states import FlagState
from flagstaff.admin.page import stored_row
from flagstaff.admin.part import Part, RowAction
from flagstaff.admin.permissions import (
    TOGGLE_FIELDS,
    has_toggle_permission,
    is_toggle_page,
    mark_toggle_page,
    may_toggle,
)
from flagstaff.changes.allowed_users import count_allowed_users


class ToggleRights(Part):
    """Users who may only toggle flags can open the pages of flags, and use part of the form."""

    def open_form(self, request: HttpRequest) -> None:
        """Marks the page of a flag. For Django, a user who may toggle the flag may change it."""
        mark_toggle_page(self.admin, request)

    def permits(
        self,
        action: RowAction,
        request: HttpRequest,
        row: Any,
        *,
        permitted: bool,
    ) -> bool:
        """Whether the user may do this. To delete a flag that users have needs the right, too."""
        if action == "view":
            return permitted or has_toggle_permission(self.admin, request)
        if action == "change":
            return is_toggle_page(request) or permitted
        if action == "delete" and permitted and row is not None:
            return may_toggle(self.admin, request, row) or not _reaches_users(stored_row(row))
        return permitted

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """For a user who may only toggle, all other fields."""
        if not is_toggle_page(request):
            return ()
        fields = (*self.admin.opts.concrete_fields, *self.admin.opts.many_to_many)
        return [one.name for one in fields if one.name not in TOGGLE_FIELDS]


def _reaches_users(flag: Any) -> bool:
    return FlagState.of(flag).reaches_users(lambda: count_allowed_users(flag))
