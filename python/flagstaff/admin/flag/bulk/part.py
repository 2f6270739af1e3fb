"""The part of the list of flags with the actions for several flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext_lazy

from flagstaff._tables.optional_fields import FlagModel
from flagstaff.admin.flag.bulk.actions import ACTIONS, BulkAction
from flagstaff.admin.flag.bulk.export import flags_as_csv
from flagstaff.admin.flag.bulk.page import BulkPage
from flagstaff.admin.part import AdminOfParts, Part

_Method = Callable[[object, HttpRequest, QuerySet[Any]], HttpResponse | None]


class FlagActions(Part):
    """The actions for several flags, without those for fields that the model lacks."""

    actions: tuple[str, ...] = ("export_csv",)

    def __init__(self, admin: AdminOfParts) -> None:
        super().__init__(admin)
        model = FlagModel.of(admin.model)
        own = [one for one in ACTIONS if not one.field or model.has(one.field)]
        for action in own:
            setattr(self, action.name, self._method(action))
        self.actions = (*(action.name for action in own), *self.actions)

    def _method(self, action: BulkAction) -> _Method:
        @admin.action(description=action.label, permissions=[action.permission])
        def run(_admin: object, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
            return BulkPage(self.admin, action, request).answer(rows)

        # Django takes it for the name of the action.
        run.__name__ = action.name
        return run

    @admin.action(
        description=gettext_lazy("Export selected %(verbose_name_plural)s as CSV"),
        permissions=["view"],
    )
    def export_csv(
        self, _admin: object, _request: HttpRequest, queryset: QuerySet[Any]
    ) -> StreamingHttpResponse:
        """Sends any number of flags as CSV, while they are read."""
        return flags_as_csv(queryset)
