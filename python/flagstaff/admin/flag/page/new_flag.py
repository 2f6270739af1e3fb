"""The page that adds a flag: the key comes first, and a link fills the form in for staff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from flagstaff._tables.model_fields import RULES
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.rights import may

# The parameter of the URL, and its value.
_WHO, _STAFF = "who", "staff"
_FOR_STAFF: Mapping[str, Any] = {
    "enabled": True,
    "rollout_percent": 0,
    RULES: [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}],
}


class NewFlag(Part):
    """Saves clicks: most releases begin with the people of the project."""

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The field with its value for staff. An existing flag has no form field for its key."""
        if db_field.name == "key" and request.method == "GET":
            field.widget.attrs["autofocus"] = True
        if request.GET.get(_WHO) == _STAFF and db_field.name in _FOR_STAFF:
            # The form of an existing flag has its values instead.
            field.initial = _FOR_STAFF[db_field.name]
        return field

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """Whether the page offers the link, or has followed it."""
        site, model = self.admin.admin_site, self.admin.model
        if row is not None or not may(site, request, "toggle", model):
            return {}
        return {"flagstaff_new": "filled" if request.GET.get(_WHO) == _STAFF else "empty"}
