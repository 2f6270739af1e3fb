"""The page that confirms a save which gives a flag to users: it shows the impact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import all_rows
from flagstaff.admin.confirmation import posted_fields, problems_of
from flagstaff.admin.flag.form.bucket_unit import reassigned_text
from flagstaff.admin.flag.state import preview
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of
from flagstaff.admin.part import Part
from flagstaff.admin.permissions import may
from flagstaff.changes.allowed_users import ALLOWED, count_allowed_users
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.planned import Planned, impact_text, planned, planned_edit
from flagstaff.exceptions import InvalidChangeError


class ReleaseQuestion(Part):
    """Asks before a save that gives the flag to users."""

    def before_save(self, request: HttpRequest, form: MergingForm) -> None:
        """Asks for a confirmation if one is needed.

        The right to add flags is not the right to give one to users.
        """
        flag = form.instance
        is_new = flag._state.adding
        plan = _planned(flag, form, is_new=is_new)
        page = page_of(request)
        page.users_text = "" if plan is None or is_new else impact_text(plan)
        if plan is None:
            return
        if is_new:
            self._require_release(request, flag, plan)
        if plan.consequence >= Consequence.WIDENS:
            # The form has checked the reason.
            problems = problems_of(request, plan.text_to_type, needs_reason=False)
            if problems is None or problems:
                page.question = self._question(request, plan, problems)

    def _require_release(self, request: HttpRequest, flag: Any, plan: Planned) -> None:
        reaches_users = plan.after.reaches_users(lambda: plan.added)
        if reaches_users and not may(self.admin.admin_site, request, "toggle", flag):
            text = _(
                "users would have the new flag at once, and you do not have the permission to "
                "change or toggle flags. Add it turned off"
            )
            raise InvalidChangeError(text)

    def _question(
        self, request: HttpRequest, change: Planned, problems: list[str] | None
    ) -> TemplateResponse:
        flag = all_rows(self.admin.model).filter(key=change.key).first()
        allowed = change.added if flag is None else count_allowed_users(flag)
        is_reassigned = change.before.enabled and change.before.bucket_by != change.after.bucket_by
        return self.admin.confirmation(
            request,
            flag or self.admin.model(key=change.key),
            {
                "title": _("Save a flag") if flag else _("Add a flag"),
                "subtitle": None,
                "flagstaff_parent": "admin/base_site.html",
                "flagstaff_question": _("Save these changes of “%(key)s”?") % {"key": change.key},
                "flagstaff_rows": preview(change.before, change.after, allowed, change.impact),
                "flagstaff_notes": list(_notes(change, is_reassigned=is_reassigned)),
                "flagstaff_posted": posted_fields(request),
                "flagstaff_may_edit": True,
                "flagstaff_typed": change.text_to_type,
                "flagstaff_problems": problems,
                "flagstaff_label": _("Save %(key)s") % {"key": change.key},
            },
        )


def _notes(change: Planned, *, is_reassigned: bool) -> list[str]:
    if is_reassigned:
        return [reassigned_text()]
    return [text] if (text := impact_text(change)) else []


def _planned(flag: Any, form: MergingForm, *, is_new: bool) -> Planned | None:
    """Returns what a save would do; None if it edits no field that decides about results."""
    if is_new:
        after = FlagState.of(flag)
        plan = planned(flag.key, replace(after, enabled=False), after)
        return replace(plan, added=len(form.cleaned_data.get(ALLOWED) or ()))
    stored = all_rows(type(flag)).filter(pk=flag.pk).first()
    # If the flag was deleted meanwhile, the write reports it.
    return None if stored is None else planned_edit(stored, form.changed_fields)
