"""The pages of the rows of optional apps, such as rollout plans, which have events but no history.

Their actions return `Done`, and have a look of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string

from flagstaff._text import say
from flagstaff.admin.changes.events import rows_of_app
from flagstaff.admin.links import changes_url
from flagstaff.admin.looks import AppReceipts
from flagstaff.admin.parts import Section
from flagstaff.admin.rights import may
from flagstaff.admin.row_page import RowPageAdmin

# A row that changes for weeks has many.
_MAX_EVENTS = 100


class AppRowAdmin(RowPageAdmin):
    """Shows a row of an app as text, with its actions."""

    #: The kind of the actions, which is also the name of the app's pages: see `admin.parts`.
    app_kind: ClassVar[str]
    receipts = AppReceipts
    has_column_arguments = False

    @property
    def action_kind(self) -> str:
        """The kind of row whose actions have pages."""
        return self.app_kind

    def as_shown(self, request: HttpRequest, rows: Iterable[Any]) -> Sequence[Any]:
        """Returns rows with what their list and their pages show of them."""
        return [*rows]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The rows of the list."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = self.as_shown(request, changelist.result_list)
        return changelist

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row of a page."""
        row = super().get_object(request, object_id, from_field)
        return None if row is None else self.as_shown(request, [row])[0]

    def events(self, row: Any) -> QuerySet[Any]:
        """Returns what has happened to a row."""
        raise NotImplementedError

    def version(self, row: Any) -> str:
        """Returns a text that differs after each change that a person must see. Queries."""
        raise NotImplementedError

    def versions(self, rows: Sequence[Any]) -> list[str] | None:
        """Their texts, because they have no history."""
        return [*map(self.version, rows)]

    def last_changes(self, request: HttpRequest, row: Any) -> Section:
        """Returns the section with the events."""
        rows = rows_of_app([*self.events(row).order_by("-id")[:_MAX_EVENTS]])
        html = render_to_string("flagstaff/last_changes.html", {"rows": rows})
        return Section(say("Events").local, html if rows else "")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Goes to the events of a row among the recent changes."""
        row = self.get_object(request, object_id)
        if row is None:
            return self.missing(request, object_id)
        if not may(self.admin_site, request, "view", row):
            raise PermissionDenied
        filters = {"key": row.key, "kind": self.app_kind}
        return HttpResponseRedirect(changes_url(self.admin_site, filters))
