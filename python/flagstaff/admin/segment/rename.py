"""The page that gives a segment another key, also in the rules that name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _

from flagstaff._words.lists import local_list
from flagstaff.admin.confirmation import posted_version, problems_of, version_text
from flagstaff.admin.links import page_url, row_path
from flagstaff.admin.part import Part
from flagstaff.admin.saving import case_variants_text
from flagstaff.admin.segment.plan import use_names, uses_by_segment, visible_refusal
from flagstaff.changes import Changed, rename_segment
from flagstaff.changes.planned import text_for_many
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import version_of
from flagstaff.validators import KEY_MAX_LENGTH

# The field with the new key.
_NEW_KEY = "new_key"
# The flags and experiments that the page lists.
_MAX_NAMES = 50


class RenamePage(Part):
    """Adds the page. No user gains or loses anything, so it needs no permission for flags."""

    def urls(self) -> Sequence[URLPattern]:
        """The URL of the page."""
        return [row_path(self.admin, "rename", self.rename_view)]

    def rename_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks for the new key. A confirmed POST renames the segment."""
        return self.admin.attributed_view(request, self._rename, unquote(object_id))

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """The link to the page, for users who may change the segment."""
        if row is None or not self.admin.has_change_permission(request, row):
            return {}
        url = page_url(self.admin.admin_site, self.admin.model, "rename", row.pk)
        return {"flagstaff_rename_url": url}

    def _rename(self, request: HttpRequest, object_id: str) -> HttpResponse:
        site, model = self.admin.admin_site, self.admin.model
        segment = self.admin.get_object(request, object_id)
        if not self.admin.has_change_permission(request, segment):
            raise PermissionDenied
        if segment is None:
            text = _("This segment no longer exists.")
            self.admin.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(page_url(site, model, "changelist"))
        problems = problems_of(request, text_for_many([segment.key]))
        if problems is None or problems:
            return self._ask(request, segment, problems)
        new_key = request.POST.get(_NEW_KEY, "").strip()
        try:
            changed = rename_segment(segment.key, new_key, expect_version=posted_version(request))
        except ConflictError:
            raise
        except FlagstaffError as error:
            return self._ask(request, segment, [visible_refusal(site, request, error.message)])
        self._report(request, segment, changed)
        return HttpResponseRedirect(page_url(site, model, "change", segment.pk))

    def _ask(self, request: HttpRequest, segment: Any, problems: list[str] | None) -> HttpResponse:
        site, key = self.admin.admin_site, segment.key
        if names := use_names(site, request, uses_by_segment(ended=True)[key]):
            text = _("The rules of %(uses)s get the new key.")
            text %= {"uses": local_list(names, _MAX_NAMES)}
        else:
            text = _("No rule uses the segment.")
        context = {
            "title": _("Rename a segment"),
            "flagstaff_question": _("Rename “%(key)s”?") % {"key": key},
            "flagstaff_notes": [f"{text} {_('No user gains or loses anything.')}"],
            "flagstaff_new_key": request.POST.get(_NEW_KEY, key),
            "flagstaff_max_key": KEY_MAX_LENGTH,
            "flagstaff_version": version_text(version_of(Kind.SEGMENT, segment.pk)),
            "flagstaff_typed": text_for_many([key]),
            "flagstaff_problems": problems,
            "flagstaff_label": _("Rename %(key)s") % {"key": key},
            "flagstaff_back": page_url(site, self.admin.model, "change", segment.pk),
        }
        page = self.admin.confirmation(request, segment, context)
        page.template_name = "flagstaff/segment_rename.html"
        return page

    def _report(self, request: HttpRequest, segment: Any, changed: Changed) -> None:
        if not changed.written:
            text = _("Nothing was changed: “%(key)s” already has these values.")
            self.admin.message_user(request, text % {"key": segment.key}, messages.INFO)
            return
        old, new = segment.key, changed.new["key"]
        text = _("The segment “%(old)s” was renamed to “%(new)s”, also in all rules.")
        text %= {"old": old, "new": new}
        segment.key = new
        self.admin.log_change(request, segment, text)
        self.admin.report_change(request, changed, text)
        if warning := case_variants_text(self.admin.model, new):
            self.admin.message_user(request, warning, messages.WARNING)
