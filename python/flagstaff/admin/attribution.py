"""Attribution of the admin's writes: the user of the request is the actor, and gives the reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._attribution.context import attributed, attribution
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


class AttributedViews(ModelAdminMixin):
    """Attributes all writes of a view. Needs no middleware."""

    def attributed_view(
        self,
        request: HttpRequest,
        view: Callable[Concatenate[HttpRequest, _P], HttpResponse],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> HttpResponse:
        """Runs a view and attributes its writes to the request's user.

        After a conflict of what was confirmed, the view asks again and keeps the reason. Another
        FlagstaffError of a POST becomes a message, followed by a redirect to the same page.
        """
        _remove_nul(request)
        made_by = attribution(request.user, source="admin", reason=_reason(request))
        with attributed(lambda: made_by):
            try:
                return view(request, *args, **kwargs)
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
                    return view(request, *args, **kwargs)
        self.message_user(request, with_typed_reason(request, text), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


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
