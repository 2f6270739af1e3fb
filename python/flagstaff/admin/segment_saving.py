"""The page that confirms a save of a segment: the flags and experiments that use it, with users."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._tables.rows import all_rows
from flagstaff.admin.confirmation import ConfirmedFormMixin, posted_fields
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.mixin_base import ModelAdminMixin
from flagstaff.admin.segment_plan import segment_rows, why_not_release
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.segment_plan import CONDITIONS, SegmentPlan, plan_segments
from flagstaff.exceptions import InvalidChangeError


class ConfirmedSegmentMixin(ConfirmedFormMixin, ModelAdminMixin):
    """Put it before SavingMixin."""

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Writes the edited fields, unless they have to be confirmed first.

        The right to change segments is not the right to release the flags that use them.
        """
        plan = self._segment_plan(obj, form, is_new=not change)
        if plan is not None and (why := why_not_release(self.admin_site, request, plan)):
            raise InvalidChangeError(why)
        if plan is not None and plan.consequence >= Consequence.WIDENS:
            page = partial(self._confirmation_page, request, obj, plan)
            self.require_confirmation(request, plan.text_to_type, page)
        super().save_model(request, obj, form, change)
        self.set_users_text(request, "" if plan is None else plan.text)

    def _segment_plan(self, segment: Any, form: MergingForm, *, is_new: bool) -> SegmentPlan | None:
        """Returns what a save would do; None if it edits no conditions, or if nothing uses them."""
        if not is_new and CONDITIONS not in form.changed_fields:
            return None
        # A rule may name a segment that SQL has deleted.
        stored = None if is_new else all_rows(self.model).filter(pk=segment.pk).first()
        before, after = getattr(stored, CONDITIONS, None), form.cleaned_data.get(CONDITIONS)
        return plan_segments({segment.key: (before, after)})

    def _confirmation_page(
        self, request: HttpRequest, segment: Any, plan: SegmentPlan, problems: list[str] | None
    ) -> TemplateResponse:
        return self.confirmation(
            request,
            segment,
            {
                "title": _("Save a segment"),
                "subtitle": None,
                "flagstaff_parent": "admin/base_site.html",
                "flagstaff_question": _("Save these changes of “%(key)s”?") % {"key": segment.key},
                "flagstaff_rows": segment_rows(self.admin_site, request, plan),
                "flagstaff_notes": [plan.text],
                "flagstaff_posted": posted_fields(request),
                "flagstaff_may_edit": True,
                "flagstaff_typed": plan.text_to_type,
                "flagstaff_problems": problems,
                "flagstaff_label": _("Save %(key)s") % {"key": segment.key},
            },
        )
