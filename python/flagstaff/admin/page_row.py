"""The row of a page as it is stored, before a form sets its fields, and the request."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.http import HttpRequest

from flagstaff.admin.mixin_base import ModelAdminMixin

# The attributes of the row.
_STORED, _REQUEST = "flagstaff_stored", "flagstaff_request"


class PageRowMixin(ModelAdminMixin):
    """Put it before ModelAdmin."""

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row, with a copy of it: a form sets its fields, also to invalid values."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            vars(row)[_STORED] = copy(row)
            vars(row)[_REQUEST] = request
        return row


def stored_row(row: Any) -> Any:
    """Returns the row of a page as it was read."""
    return vars(row).get(_STORED, row)


def request_of(row: Any) -> HttpRequest | None:
    """Returns the request of the page that shows a row; None in a list."""
    request: HttpRequest | None = vars(row).get(_REQUEST)
    return request
