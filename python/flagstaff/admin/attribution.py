"""Attribution of the admin's writes: the user of the request is the actor, and gives the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._attribution.context import attributed, attribution
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.changes.known_texts import refusal_text
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError

__all__ = [
    "MAX_REASON_LENGTH",
    "REASON",
    "VERSION",
    "AttributionMixin",
    "reason_problem",
    "reason_required",
]

#: The name of the form field. A model may have a column "reason".
REASON = "_reason"
#: The name of the field with the version that the page showed.
VERSION = "expect_version"
MAX_REASON_LENGTH = 500

_P = ParamSpec("_P")


def reason_problem(request: HttpRequest) -> str:
    """Returns the error of a posted reason; empty if there is none."""
    if not conf.require_reason or _reason(request).strip():
        return ""
    return reason_required()


def reason_required() -> str:
    """Returns the error of a reason that is missing."""
    return _("A reason is required. Write why you make this change: the history shows it.")


class AttributionMixin(ModelAdminMixin):
    """Attributes all writes of these views. Put it before ModelAdmin; needs no middleware."""

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
        """The history with its undo and restore buttons."""
        return self.attributed_view(request, super().history_view, object_id, extra_context)

    def attributed_view(
        self,
        request: HttpRequest,
        view: Callable[Concatenate[HttpRequest, _P], HttpResponse],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> HttpResponse:
        """Runs a view and attributes its writes to the request's user.

        A FlagstaffError during a POST becomes a message, followed by a redirect to the same page.
        """
        made_by = attribution(request.user, source="admin", reason=_reason(request))
        try:
            with attributed(lambda: made_by):
                return view(request, *args, **kwargs)
        except FlagstaffError as error:
            # A failed GET would redirect to itself without end.
            if request.method != "POST":
                raise
            # Django capitalises the first letter of a message: a key must not be the first word.
            text = _("Not saved: %(why)s") % {"why": self._problem(request, error)}
            # The page that follows has an empty form.
            if reason := _reason(request).strip():
                text += " " + _("The reason that you typed: “%(reason)s”.") % {"reason": reason}
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def translate_refusal(self, text: str) -> str:
        """Returns the message of a FlagstaffError in the active language."""
        return refusal_text(text)

    def _problem(self, request: HttpRequest, error: FlagstaffError) -> str:
        """What happened, and what to do next on the page that is shown then."""
        if not isinstance(error, ConflictError) or str(error.expected) != request.POST.get(VERSION):
            return self.translate_refusal(str(error))
        text = _("%(problem)s. The page now shows the present state; press the button again.")
        return text % {"problem": self.translate_refusal(error.problem)}


def _reason(request: HttpRequest) -> str:
    """The reason, limited to what the database can store. Not all pages have a form for it."""
    return request.POST.get(REASON, "").replace("\0", "")[:MAX_REASON_LENGTH]
