"""The page after Django's page for a deletion: it asks for the key, and for a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff.admin.confirmation import ConfirmationMixin, posted_fields, problems_of
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.recent_changes.urls import undo_url
from flagstaff.changes.changed import combined_undo
from flagstaff.changes.planned import text_for_many
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

# What Django's page posts, and the action of the list.
_CONFIRMED, _ACTION = "post", "delete_selected"

_DELETE = {
    Kind.FLAG: changes.delete,
    Kind.VALUE: changes.delete_value,
    Kind.SEGMENT: changes.delete_segment,
}
# The deleted keys that a message lists.
_MAX_LISTED = 5


class ConfirmedDeletionMixin(ConfirmationMixin, ModelAdminMixin):
    """Put it before SavingMixin."""

    row_kind = Kind.FLAG

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The page that deletes a row."""
        if request.method == "POST":
            row = self.get_object(request, unquote(object_id))
            page = None if row is None else self._confirm_deletion(request, [row])
            if page is not None:
                return page
        return super().delete_view(request, object_id, extra_context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The list, with the action that deletes rows."""
        # With two lists of actions, Django uses the one of the pressed button.
        if _ACTION in request.POST.getlist("action") and _CONFIRMED in request.POST:
            _select_listed(request)
            pks = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
            rows = list(self.get_queryset(request).filter(pk__in=pks).order_by("key"))
            page = self._confirm_deletion(request, rows) if rows else None
            if page is not None:
                return page
        return super().changelist_view(request, extra_context)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Deletes one row."""
        changed = _DELETE[self.row_kind](obj.key)
        self._show_undo_command(request, [changed], changed.undo)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Deletes all rows, or none if one fails."""
        with transaction.atomic(using=conf.database):
            keys = queryset.order_by("pk").values_list("key", flat=True)
            deleted = [_DELETE[self.row_kind](key) for key in keys]
        self._show_undo_command(request, deleted, combined_undo(deleted))

    def _show_undo_command(
        self, request: HttpRequest, deleted: Sequence[changes.Changed], undo: changes.Undo | None
    ) -> None:
        """Says how to create rows again, in a terminal or by a button."""
        if undo is None:
            return
        keys = local_list((quoted(changed.key) for changed in deleted), _MAX_LISTED)
        text = _("To create %(keys)s again, run: %(command)s")
        message = format_html("{}", text % {"keys": keys, "command": undo.command})
        if url := undo_url(self.admin_site, (one.version for one in deleted if one.version)):
            link = '<a class="button flagstaff-button flagstaff-undo" href="{}">{}</a>'
            message = format_html("{} " + link, message, url, _("Bring back…"))
        self.message_user(request, message, messages.INFO)

    def _confirm_deletion(self, request: HttpRequest, rows: Sequence[Any]) -> HttpResponse | None:
        """Returns the confirmation page; None if none is needed, or without permission."""
        keys = [row.key for row in rows]
        typed = text_for_many(keys)
        if not (typed or conf.require_reason):
            return None
        if not all(self.has_delete_permission(request, row) for row in rows):
            return None
        problems = problems_of(request, typed)
        if problems is not None and not problems:
            return None
        question = _("Delete %(keys)s?") % {"keys": local_list(quoted(key) for key in keys)}
        return self.confirmation(
            request,
            rows[0],
            {
                "title": _("Are you sure?"),
                "subtitle": None,
                "flagstaff_parent": "admin/base_site.html",
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
