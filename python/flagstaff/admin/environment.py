"""The environment and the read-only mode, at the top of each page of flags, values and segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from flagstaff.conf import conf

__all__ = ["EnvironmentMixin", "environment_context", "extend_template"]

# The name of a page's template in its context, for a template that extends it.
_PARENT = "flagstaff_parent"

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


def environment_context() -> dict[str, object]:
    """Returns what the templates of the pages read."""
    return {
        "flagstaff_environment": conf.environment,
        "flagstaff_read_only": conf.read_only,
    }


def extend_template(response: TemplateResponse, template: str) -> None:
    """Renders a page with a template that extends its present one, which may be a theme's."""
    response.context_data = {
        **(response.context_data or {}),
        _PARENT: response.resolve_template(response.template_name),
    }
    response.template_name = template


class EnvironmentMixin(_ModelAdmin):
    """Shows the environment on all pages. Put it before ModelAdmin."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The list."""
        return _with_environment(super().changelist_view(request, extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """The page that adds or changes a row."""
        view = super().changeform_view
        return _with_environment(view(request, object_id, form_url, extra_context))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The page that deletes a row."""
        return _with_environment(super().delete_view(request, object_id, extra_context))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The history."""
        return _with_environment(super().history_view(request, object_id, extra_context))


def _with_environment(response: HttpResponse) -> HttpResponse:
    if not isinstance(response, TemplateResponse) or not (conf.environment or conf.read_only):
        return response
    context = response.context_data or {}
    # The pages that confirm show it themselves.
    if "flagstaff_environment" not in context:
        response.context_data = {
            **context,
            **environment_context(),
            "flagstaff_page": response.resolve_template(response.template_name),
        }
        response.template_name = "flagstaff/environment_page.html"
    return response
