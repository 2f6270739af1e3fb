"""The page that confirms a save which gives a flag to users: it shows the impact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import all_rows
from flagstaff.admin.flag.form.bucket_unit import reassigned_text
from flagstaff.admin.flag.state import partial_rule_notices, preview
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of, stored_row
from flagstaff.admin.permissions import may
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.changes.allowed_users import ALLOWED, count_allowed_users
from flagstaff.changes.planned import Planned, impact_text, planned, planned_edit
from flagstaff.exceptions import InvalidChangeError


class ReleaseQuestion(SaveQuestion):
    """Asks before a save that gives the flag to users."""

    def plan(self, request: HttpRequest, form: MergingForm) -> Planned | None:
        """What the save would do; None if it edits no field that decides about results.

        The right to add flags is not the right to give one to users.
        """
        flag = form.instance
        is_new = flag._state.adding
        plan = _planned(flag, form, is_new=is_new)
        page_of(request).users_text = "" if plan is None or is_new else impact_text(plan)
        if plan is not None and is_new:
            self._require_release(request, flag, plan)
        return plan

    def _require_release(self, request: HttpRequest, flag: Any, plan: Planned) -> None:
        reaches_users = plan.after.reaches_users(lambda: plan.added)
        if reaches_users and not may(self.admin.admin_site, request, "toggle", flag):
            text = _(
                "users would have the new flag at once, and you do not have the permission to "
                "change or toggle flags. Add it turned off"
            )
            raise InvalidChangeError(text)

    def question(
        self, request: HttpRequest, form: MergingForm, plan: Planned
    ) -> Mapping[str, object]:
        """The state before and after the save."""
        is_new = form.instance._state.adding
        allowed = plan.added if is_new else count_allowed_users(stored_row(form.instance))
        return {
            "title": _("Add a flag") if is_new else _("Save a flag"),
            "flagstaff_rows": preview(plan.before, plan.after, allowed, plan.impact),
            "flagstaff_notes": _notes(plan),
        }


def _notes(plan: Planned) -> list[str]:
    if plan.before.enabled and plan.before.bucket_by != plan.after.bucket_by:
        return [reassigned_text()]
    texts = [impact_text(plan), *partial_rule_notices(plan.after)]
    return [text for text in texts if text]


def _planned(flag: Any, form: MergingForm, *, is_new: bool) -> Planned | None:
    if is_new:
        after = FlagState.of(flag)
        plan = planned(flag.key, replace(after, enabled=False), after)
        return replace(plan, added=len(form.cleaned_data.get(ALLOWED) or ()))
    stored = all_rows(type(flag)).filter(pk=flag.pk).first()
    # If the flag was deleted meanwhile, the write reports it.
    return None if stored is None else planned_edit(stored, form.changed_fields)
