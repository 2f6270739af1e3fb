"""The title of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IS_POPUP_VAR
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from flagstaff.admin.mixin_base import ModelAdminMixin


def list_title(model_admin: ModelAdmin[Any], request: HttpRequest) -> Mapping[str, object]:
    """Returns the title for the context of a list. It says what the list shows, such as "Values".

    Django's title asks to select a row, which is only a part of what a list is for. A popup keeps
    it, because there a row is selected.
    """
    title = str(capfirst(model_admin.opts.verbose_name_plural))
    return {} if IS_POPUP_VAR in request.GET else {"title": title}


class ListTitleMixin(ModelAdminMixin):
    """Shows the title. Put it before ModelAdmin."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list."""
        context = {**list_title(self, request), **(extra_context or {})}
        return super().changelist_view(request, context)
