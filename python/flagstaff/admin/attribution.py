"""Whose change it is: what the admin writes is its user's, with the reason that was typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._attribution.context import attributed, attribution
from flagstaff.exceptions import FlagstaffError

__all__ = ["LONGEST_REASON", "REASON", "HandsMixin"]

REASON = "reason"
LONGEST_REASON = 500

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class HandsMixin(_ModelAdmin):
    """Goes before ModelAdmin. The middleware need not be there."""

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The list, and what is done in it."""
        return self.by_hand(request, super().changelist_view, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The page of one, and what is saved in it."""
        return self.by_hand(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The question whether to delete one, and the answer."""
        return self.by_hand(request, super().delete_view, *args, **kwargs)

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The history, and what is taken back in it."""
        return self.by_hand(request, super().history_view, *args, **kwargs)

    def by_hand(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """What a view answers, with all that it writes put down to this request's user."""
        told = attribution(request.user, source="admin", reason=_reason(request))
        try:
            with attributed(lambda: told):
                return view(request, *args, **kwargs)
        except FlagstaffError as error:
            # Somebody else was faster, between the check of a form and its save; or there are no
            # triggers, and so no version to be compared. A page that only shows has no way back.
            if request.method != "POST":
                raise
            # The page makes a capital letter of the first, which is not to be that of a key.
            text = _("Refused: %(why)s") % {"why": error}
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


def _reason(request: HttpRequest) -> str:
    """What was typed, as the database can hold it. Not every page has a form that looks at it."""
    return request.POST.get(REASON, "").replace("\0", "")[:LONGEST_REASON]
