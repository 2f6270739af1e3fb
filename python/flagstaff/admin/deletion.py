"""The page before a deletion: what is lost, a reason, and the key to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.options import IS_POPUP_VAR
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._stored_value_schema import is_secret
from flagstaff._words.text import local_list, local_number, quoted
from flagstaff.admin.base_admin import with_undo
from flagstaff.admin.confirmation import problems_of
from flagstaff.admin.links import row_links, undo_url
from flagstaff.admin.page import page_of
from flagstaff.admin.part import Deleted, Part
from flagstaff.changes.changed import Changed, Undo
from flagstaff.changes.consequence import text_for_many
from flagstaff.conf import conf
from flagstaff.history.log import has_history

# What Django's page posts, and the action of the list.
_CONFIRMED, _ACTION = "post", "delete_selected"
# The context of Django's page for several rows has them by this name.
_SELECTED = "queryset"

# The deleted keys that a message lists.
_MAX_LISTED = 5


class Deletion(Part):
    """Replaces Django's pages before a deletion, and says how to create the rows again.

    Django's pages stay where it refuses a deletion, and where the project has its own.
    """

    def about(self, request: HttpRequest, rows: Sequence[Any]) -> Mapping[str, Any]:
        """Returns what the template shows of these rows."""
        return {}

    def text_to_type(self, request: HttpRequest, rows: Sequence[Any]) -> str:
        """Returns what a person types to confirm; empty for nothing."""
        return text_for_many([row.key for row in rows])

    def delete_response(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The page for one row."""
        row = self.admin.get_object(request, object_id)
        is_posted = request.method == "POST"
        # Another template would be the project's own page.
        is_own = self.admin.delete_confirmation_template is not None
        if row is None or (is_own and not is_posted):
            return None
        return self._page(request, [row], is_posted=is_posted)

    def list_response(self, request: HttpRequest) -> HttpResponse | None:
        """The page for several rows, if what was posted does not confirm it."""
        # With two lists of actions, Django uses the one of the pressed button.
        if _ACTION not in request.POST.getlist("action") or _CONFIRMED not in request.POST:
            return None
        # The rows that the page has listed, and not all rows of the list.
        posted = request.POST.copy()
        posted.pop("select_across", None)
        request.POST = posted  # type: ignore[assignment]
        pks = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        rows = list(self.admin.get_queryset(request).filter(pk__in=pks).order_by("key"))
        if not rows and self.admin.has_delete_permission(request):
            return self._back_to_list(request)
        return self._page(request, rows, is_posted=True) if rows else None

    def action_response(self, request: HttpRequest, page: TemplateResponse) -> HttpResponse:
        """The page for several rows, in place of Django's."""
        found = page.context_data or {}
        is_own = self.admin.delete_selected_confirmation_template is not None
        if is_own or "deletable_objects" not in found:
            return page
        rows = sorted(found[_SELECTED], key=lambda row: str(row.key))
        if not rows:
            return self._back_to_list(request)
        counts = dict(found["model_count"])
        deleted: Deleted = [], counts, found["perms_lacking"], found["protected"]
        return self._page(request, rows, deleted) or page

    def _back_to_list(self, request: HttpRequest) -> HttpResponse:
        """Somebody else has deleted all rows that were selected."""
        text = _("Nothing was deleted: what you selected no longer exists.")
        self.admin.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(request.get_full_path())

    def after_delete(
        self, request: HttpRequest, deleted: Sequence[Changed], undo: Undo | None
    ) -> None:
        """Says how to create rows again, in a terminal or by a button."""
        if undo is None:
            return
        keys = local_list((quoted(changed.key) for changed in deleted), _MAX_LISTED)
        text = _("To create %(keys)s again, run: %(command)s")
        message = format_html("{}", text % {"keys": keys, "command": undo.command})
        url = undo_url(self.admin.admin_site, (one.version for one in deleted if one.version))
        message = with_undo(message, url, _("Bring back…"))
        self.admin.message_user(request, message, messages.INFO)

    def _page(
        self,
        request: HttpRequest,
        rows: Sequence[Any],
        found: Deleted | None = None,
        *,
        is_posted: bool = False,
    ) -> HttpResponse | None:
        """Returns the page; None if the deletion is confirmed, or if Django refuses it.

        `found` is what Django's page lists, if it was read.
        """
        typed = self.text_to_type(request, rows)
        if is_posted and not (typed or conf.require_reason):
            return None
        problems = problems_of(request, typed)
        if is_posted and problems == []:
            return None
        if not all(self.admin.has_delete_permission(request, row) for row in rows):
            return None
        _lines, counts, forbidden, protected = found or self.admin.get_deleted_objects(
            rows, request
        )
        if forbidden or protected:
            return None
        context = {
            **self._context(request, rows, counts),
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
        }
        page = self.admin.confirmation(request, rows[0], context)
        page.template_name = "flagstaff/delete.html"
        return page

    def _context(
        self, request: HttpRequest, rows: Sequence[Any], counts: Mapping[str, int]
    ) -> dict[str, object]:
        is_list, about = page_of(request).is_list, self.about(request, rows)
        keys, crumbs = [row.key for row in rows], row_links(self.admin.admin_site, rows[0])
        question = _("Delete %(keys)s?") % {"keys": local_list(quoted(key) for key in keys)}
        others = _others(counts, str(self.admin.opts.verbose_name_plural))
        return {
            **about,
            "title": _("Delete"),
            "flagstaff_crumbs": crumbs if len(rows) == 1 else crumbs[:1],
            "flagstaff_question": question,
            "flagstaff_notes": [*about.get("flagstaff_notes", ()), *others],
            "flagstaff_way_back": way_back(rows),
            "flagstaff_posted": _posted_from_list(rows) if is_list else _posted_from_row(request),
            "flagstaff_label": _label(keys),
            "flagstaff_danger": True,
            "flagstaff_back": request.get_full_path() if is_list else crumbs[-1][0],
        }


def _posted_from_list(rows: Sequence[Any]) -> list[tuple[str, str]]:
    """Returns the hidden fields of Django's page for several rows."""
    pks = ((helpers.ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows)
    return [(_CONFIRMED, "yes"), ("action", _ACTION), *pks]


def _posted_from_row(request: HttpRequest) -> list[tuple[str, str]]:
    is_popup = IS_POPUP_VAR in request.GET or IS_POPUP_VAR in request.POST
    return [(_CONFIRMED, "yes"), *([(IS_POPUP_VAR, "1")] if is_popup else [])]


def _others(counts: Mapping[str, int], own: str) -> list[str]:
    """Says how many rows of other models are deleted, too."""
    others = [f"{local_number(count)} {name}" for name, count in counts.items() if name != own]
    text = _("Also deleted: %(objects)s.")
    return [text % {"objects": local_list(others)}] if others else []


def way_back(rows: Sequence[Any]) -> str:
    """Returns how these rows can be brought back after their deletion; empty without a history."""
    if not has_history():
        return ""
    if any(map(is_secret, rows)):
        return _("A secret value cannot be brought back: the history does not store what it was.")
    return ngettext(
        "You can bring it back in “Recent changes”, or with the command that the next page shows.",
        "You can bring them back in “Recent changes”, or with the command that the next page "
        "shows.",
        len(rows),
    )


def _label(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return _("Delete %(key)s") % {"key": keys[0]}
    # Some languages have more than one form for several.
    text = ngettext("Delete all %(count)s", "Delete all %(count)s", len(keys))
    return text % {"count": local_number(len(keys))}
