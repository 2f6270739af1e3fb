"""The page that asks before a save that changes results of users: it shows the impact."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff.admin.confirmation import (
    posted_fields,
    posted_version,
    problems_of,
    version_text,
)
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.links import row_links
from flagstaff.admin.page import page_of
from flagstaff.admin.part import Part
from flagstaff.admin.views import VERSION
from flagstaff.changes.consequence import Consequence, consequence_of, impact_text, text_to_type
from flagstaff.changes.impact import Impact
from flagstaff.history.log import version_of


class SaveQuestion(Part):
    """Asks for a confirmation. A subclass says what the save would do."""

    def impact(self, request: HttpRequest, form: MergingForm) -> Impact | None:
        """Returns what the save means for users, or None. Raises FlagstaffError to refuse it."""
        raise NotImplementedError

    def question(
        self, request: HttpRequest, form: MergingForm, impact: Impact
    ) -> Mapping[str, object]:
        """Returns the title, the lines and the notes of the page."""
        raise NotImplementedError

    def asks(self, form: MergingForm, impact: Impact) -> bool:
        """Whether a person has to see the page: if a result changes for somebody."""
        return consequence_of(impact) is not Consequence.NONE

    def before_save(self, request: HttpRequest, form: MergingForm) -> None:
        """Asks for a confirmation if one is needed."""
        is_new = form.instance._state.adding
        # First, so that the page never shows a version that it has not counted.
        version = None if is_new else version_of(form.kind, form.instance.pk)
        impact = self.impact(request, form)
        page_of(request).users_text = impact_text(impact) if impact else ""
        if impact is None or not self.asks(form, impact):
            return
        typed = text_to_type(impact)
        problems = problems_of(request, typed)
        key = {"key": form.instance.key}
        if problems is not None and posted_version(request) not in {None, version}:
            changed = _("“%(key)s” has changed since the page was shown. Press the button again.")
            problems = [*problems, changed % key]
        if problems == []:
            return
        question = _("Add “%(key)s”?") if is_new else _("Save these changes of “%(key)s”?")
        label = _("Add %(key)s") if is_new else _("Save %(key)s")
        context = {
            "flagstaff_question": question % key,
            "flagstaff_crumbs": row_links(self.admin.admin_site, form.instance)
            if form.instance.pk
            else (),
            "flagstaff_posted": [
                (name, value) for name, value in posted_fields(request) if name != VERSION
            ],
            "flagstaff_may_edit": True,
            "flagstaff_version": version_text(version),
            "flagstaff_typed": typed,
            "flagstaff_problems": problems,
            "flagstaff_label": label % key,
            **self.question(request, form, impact),
        }
        page_of(request).question = self.admin.confirmation(request, form.instance, context)
