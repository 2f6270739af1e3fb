"""The title of a list."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IS_POPUP_VAR
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from flagstaff.admin.mixin_base import ModelAdminMixin


class ListTitleMixin(ModelAdminMixin):
    """Says what the list shows, such as "Values". Put it before ModelAdmin.

    Django's title asks to select one of them to change, which is only a part of what a list is for.
    """

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list. A popup keeps Django's title, because there a row is selected."""
        title = str(capfirst(self.opts.verbose_name_plural))
        own = {} if IS_POPUP_VAR in request.GET else {"title": title}
        return super().changelist_view(request, {**own, **(extra_context or {})})
