"""The parts of the page of a flag, around Django's form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from flagstaff.admin.environment import extend_template
from flagstaff.admin.flag_page.head import head
from flagstaff.admin.flag_page.impact import show_impact
from flagstaff.admin.flag_page.recent_changes import recent_changes
from flagstaff.admin.flag_page.release import release
from flagstaff.admin.flag_page.who_has_it import who_has_it
from flagstaff.admin.page_row import PageRowMixin

#: Returns a part of the page of a flag; empty if there is nothing to show.
Section: TypeAlias = "Callable[[admin.ModelAdmin[Any], HttpRequest, Any], SafeString]"

# Below the form.
_SECTIONS: tuple[Section, ...] = (who_has_it, release, recent_changes)


class FlagPageMixin(PageRowMixin):
    """Put it before ModelAdmin."""

    def render_change_form(  # noqa: PLR0913, PLR0917 (Django's signature)
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,  # noqa: FBT001, FBT002
        change: bool = False,  # noqa: FBT001, FBT002
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """The page, with the parts above and below the form."""
        if obj is not None:
            show_impact(self, request, context["adminform"].form, obj)
        response = super().render_change_form(request, context, add, change, form_url, obj)
        # A subclass may have a template of its own.
        if isinstance(response, TemplateResponse) and self.change_form_template is None:
            extend_template(response, "flagstaff/flag_page.html")
            parts = {} if obj is None else self._parts(request, obj)
            response.context_data = {**(response.context_data or {}), **parts}
        return response

    def _parts(self, request: HttpRequest, flag: Any) -> dict[str, object]:
        return {
            # The head shows the key.
            "subtitle": None,
            "flagstaff_head": head(self, request, flag),
            "flagstaff_sections": [section(self, request, flag) for section in _SECTIONS],
        }
