"""The environment and the read-only mode, at the top of each page of flags, values and segments."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Concatenate, ParamSpec

from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._tables.sqlstate import is_missing_table
from flagstaff.admin.attribution import AttributedViews
from flagstaff.conf import conf

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


class EnvironmentViews(AttributedViews):
    """Shows the environment on the pages of attributed views."""

    def attributed_view(
        self,
        request: HttpRequest,
        view: Callable[Concatenate[HttpRequest, _P], HttpResponse],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> HttpResponse:
        """Runs a view, and adds the environment to its page. Before a migration it says so."""
        database = conf.database
        # A query that fails must not end the surrounding transaction.
        is_in_block = connections[database].in_atomic_block
        try:
            with transaction.atomic(using=database) if is_in_block else nullcontext():
                response = super().attributed_view(request, view, *args, **kwargs)
        except DatabaseError as error:
            if not is_missing_table(error):
                raise
            response = self._page_before_migration(request)
        return _with_environment(response)

    def _page_before_migration(self, request: HttpRequest) -> HttpResponse:
        problem = _("This page cannot be shown: the database lacks a table or a column.")
        advice = _(
            "Run “manage.py migrate”, and check that the database user may use the tables of "
            "flagstaff."
        )
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "problem": f"{problem} {advice}",
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/problem.html", context)


class EnvironmentMixin(EnvironmentViews):
    """Attributes the views of Django's admin, with the environment. Put it before ModelAdmin."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The list and its actions."""
        return self.attributed_view(request, super().changelist_view, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """The page that adds or changes a row."""
        view = super().changeform_view
        return self.attributed_view(request, view, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The page that deletes a row after a confirmation."""
        return self.attributed_view(request, super().delete_view, object_id, extra_context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The history of a row."""
        return self.attributed_view(request, super().history_view, object_id, extra_context)


def _with_environment(response: HttpResponse) -> HttpResponse:
    if not isinstance(response, TemplateResponse) or not (conf.environment or conf.read_only):
        return response
    # The pages that confirm show it themselves.
    if "flagstaff_environment" not in (response.context_data or {}):
        extend_template(response, "flagstaff/environment_page.html", "flagstaff_page")
        response.context_data = {**(response.context_data or {}), **environment_context()}
    return response
