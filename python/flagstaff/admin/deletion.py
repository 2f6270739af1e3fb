"""The page after Django's page for a deletion: it asks for the key, and for a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff.admin.confirmation import posted_fields, problems_of
from flagstaff.admin.part import Part
from flagstaff.admin.recent_changes.urls import undo_url
from flagstaff.changes.planned import text_for_many
from flagstaff.conf import conf

# What Django's page posts, and the action of the list.
_CONFIRMED, _ACTION = "post", "delete_selected"

# The deleted keys that a message lists.
_MAX_LISTED = 5


class Deletion(Part):
    """Confirms a deletion, and says how to create the rows again."""

    def delete_response(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The page that confirms what Django's page has posted."""
        if request.method != "POST":
            return None
        row = self.admin.get_object(request, object_id)
        return None if row is None else self._question(request, [row])

    def list_response(self, request: HttpRequest) -> HttpResponse | None:
        """The page that confirms the action that deletes rows."""
        # With two lists of actions, Django uses the one of the pressed button.
        if _ACTION not in request.POST.getlist("action") or _CONFIRMED not in request.POST:
            return None
        _select_listed(request)
        pks = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        rows = list(self.admin.get_queryset(request).filter(pk__in=pks).order_by("key"))
        return self._question(request, rows) if rows else None

    def after_delete(
        self, request: HttpRequest, deleted: Sequence[changes.Changed], undo: changes.Undo | None
    ) -> None:
        """Says how to create rows again, in a terminal or by a button."""
        if undo is None:
            return
        keys = local_list((quoted(changed.key) for changed in deleted), _MAX_LISTED)
        text = _("To create %(keys)s again, run: %(command)s")
        message = format_html("{}", text % {"keys": keys, "command": undo.command})
        if url := undo_url(self.admin.admin_site, (one.version for one in deleted if one.version)):
            link = '<a class="button flagstaff-button flagstaff-undo" href="{}">{}</a>'
            message = format_html("{} " + link, message, url, _("Bring back…"))
        self.admin.message_user(request, message, messages.INFO)

    def _question(self, request: HttpRequest, rows: Sequence[Any]) -> HttpResponse | None:
        """Returns the confirmation page; None if none is needed, or without permission."""
        keys = [row.key for row in rows]
        typed = text_for_many(keys)
        if not (typed or conf.require_reason):
            return None
        if not all(self.admin.has_delete_permission(request, row) for row in rows):
            return None
        problems = problems_of(request, typed)
        if problems is not None and not problems:
            return None
        question = _("Delete %(keys)s?") % {"keys": local_list(quoted(key) for key in keys)}
        return self.admin.confirmation(
            request,
            rows[0],
            {
                "title": _("Are you sure?"),
                "flagstaff_question": question,
                "flagstaff_posted": posted_fields(request),
                "flagstaff_typed": typed,
                "flagstaff_problems": problems,
                "flagstaff_label": _label(keys),
                "flagstaff_danger": True,
            },
        )


def _select_listed(request: HttpRequest) -> None:
    """Selects the rows that Django's page has listed, and not all rows of the list."""
    posted = request.POST.copy()
    posted.pop("select_across", None)
    request.POST = posted  # type: ignore[assignment]


def _label(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return _("Delete %(key)s") % {"key": keys[0]}
    # Some languages have more than one form for several.
    text = ngettext("Delete all %(count)s", "Delete all %(count)s", len(keys))
    return text % {"count": local_number(len(keys))}
