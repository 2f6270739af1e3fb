"""The environment and the read-only mode, at the top of each page of flags, values and segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from flagstaff.admin.attribution import AttributionMixin
from flagstaff.conf import conf

__all__ = ["EnvironmentMixin", "environment_context", "extend_template"]

# The name of a page's template in its context, for a template that extends it.
_PARENT = "flagstaff_parent"

_P = ParamSpec("_P")


def environment_context() -> dict[str, object]:
    """Returns what the templates of the pages read."""
    return {
        "flagstaff_environment": conf.environment,
        "flagstaff_read_only": conf.read_only,
    }


def extend_template(response: TemplateResponse, template: str, parent: str = _PARENT) -> None:
    """Renders a page with a template that extends its present one, which may be a theme's.

    `parent` is the name by which the template knows the present one.
    """
    response.context_data = {
        **(response.context_data or {}),
        parent: response.resolve_template(response.template_name),
    }
    response.template_name = template


class EnvironmentMixin(AttributionMixin):
    """Shows the environment on all pages. Put it before ModelAdmin."""

    def attributed_view(
        self,
        request: HttpRequest,
        view: Callable[Concatenate[HttpRequest, _P], HttpResponse],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> HttpResponse:
        """Runs a view, and adds the environment to its page."""
        return _with_environment(super().attributed_view(request, view, *args, **kwargs))


def _with_environment(response: HttpResponse) -> HttpResponse:
    if not isinstance(response, TemplateResponse) or not (conf.environment or conf.read_only):
        return response
    # The pages that confirm show it themselves.
    if "flagstaff_environment" not in (response.context_data or {}):
        extend_template(response, "flagstaff/environment_page.html", "flagstaff_page")
        response.context_data = {**(response.context_data or {}), **environment_context()}
    return response
