"""The views of the pages: attribute their writes, and show the environment and a title."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IS_POPUP_VAR
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._attribution.context import attributed, attribution
from flagstaff._tables.sqlstate import is_missing_table
from flagstaff._words.message import localized
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.page import page_of
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError

#: The name of the form field. A model may have a column "reason".
REASON = "_reason"
#: The name of the field with the version that the page showed.
VERSION = "expect_version"
MAX_REASON_LENGTH = 500
# The name of a page's template in its context, for a template that extends it.
_PARENT = "flagstaff_parent"

_P = ParamSpec("_P")


def reason_problem(request: HttpRequest) -> str:
    """Returns the error of a posted reason; empty if there is none."""
    if not conf.require_reason or _reason(request).strip():
        return ""
    return reason_required()


def reason_required() -> str:
    """Returns the error of a reason that is missing."""
    return _("A reason is required. Write why you make this change: the history shows it.")


def with_typed_reason(request: HttpRequest, text: str) -> str:
    """Returns a message with the reason that was typed, if the page that follows has no form."""
    reason = _reason(request).strip()
    if not reason:
        return text
    typed = _("The reason that you typed: “%(reason)s”.") % {"reason": reason}
    return f"{text} {typed}"


def mark_as_asking(request: HttpRequest) -> list[str]:
    """Says that the view of a confirmed request can ask again. Returns why it has to, if it has."""
    page = page_of(request)
    page.can_ask_again = True
    return [] if page.failed_confirmation is None else [page.failed_confirmation]


def _problem(request: HttpRequest, error: FlagstaffError) -> str:
    """What happened, and what to do next on the page that is shown then."""
    # The page of an undo has the versions of several rows.
    shown = request.POST.get(VERSION, "").split(",")
    if not isinstance(error, ConflictError) or str(error.expected) not in shown:
        return localized(error.message)
    text = _("%(problem)s. The page now shows the present state; press the button again.")
    return text % {"problem": localized(error.problem)}


def _remove_nul(request: HttpRequest) -> None:
    """Removes NUL from the parameters of the URL, which PostgreSQL cannot compare with a text."""
    if any("\0" in value for _name, values in request.GET.lists() for value in values):
        given = request.GET.copy()
        for name, values in request.GET.lists():
            given.setlist(name, [value.replace("\0", "") for value in values])
        request.GET = given  # type: ignore[assignment]


def _reason(request: HttpRequest) -> str:
    """The reason, limited to what the database can store. Not all pages have a form for it."""
    return request.POST.get(REASON, "").replace("\0", "")[:MAX_REASON_LENGTH]


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


def list_title(model_admin: ModelAdmin[Any], request: HttpRequest) -> Mapping[str, object]:
    """Returns the title for the context of a list. It says what the list shows, such as "Values".

    Django's title asks to select a row, which is only a part of what a list is for. A popup keeps
    it, because there a row is selected.
    """
    title = str(capfirst(model_admin.opts.verbose_name_plural))
    return {} if IS_POPUP_VAR in request.GET else {"title": title}


class AttributedViews(ModelAdminMixin):
    """Runs views: attributes their writes, and shows the environment. Needs no middleware."""

    def attributed_view(
        self,
        request: HttpRequest,
        view: Callable[Concatenate[HttpRequest, _P], HttpResponse],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> HttpResponse:
        """Runs a view, and attributes its writes to the request's user.

        After a conflict of what was confirmed, the view asks again and keeps the reason. Another
        FlagstaffError of a POST becomes a message, followed by a redirect to the same page. Before
        a migration, the page says so.
        """
        database = conf.database
        # A query that fails must not end the surrounding transaction.
        is_in_block = connections[database].in_atomic_block
        try:
            with transaction.atomic(using=database) if is_in_block else nullcontext():
                response = self._attributed(request, partial(view, request, *args, **kwargs))
        except DatabaseError as error:
            if not is_missing_table(error):
                raise
            response = self._page_before_migration(request)
        return _with_environment(response)

    def _attributed(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        _remove_nul(request)
        made_by = attribution(request.user, source="admin", reason=_reason(request))
        with attributed(lambda: made_by):
            try:
                return view()
            except FlagstaffError as error:
                # A failed GET would redirect to itself without end.
                if request.method != "POST":
                    raise
                # Django capitalises the first letter of a message: a key must not come first.
                text = _("Not saved: %(why)s") % {"why": _problem(request, error)}
                asks_again = isinstance(error, ConflictError) and page_of(request).can_ask_again
            if asks_again:
                page_of(request).failed_confirmation = text
                with suppress(FlagstaffError):
                    return view()
        self.message_user(request, with_typed_reason(request, text), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

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


class EnvironmentMixin(AttributedViews):
    """Attributes the views of Django's admin, with the environment. Put it before ModelAdmin."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The list and its actions."""
        context = {**list_title(self, request), **(extra_context or {})}
        return self.attributed_view(request, super().changelist_view, context)

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
