"""The page that confirms a save which gives a flag to users: it shows the impact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.optional_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff.admin.flag.form.inputs import reassigned_text
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.flag.state import partial_rule_notices, preview
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of, stored_row
from flagstaff.admin.permissions import may
from flagstaff.admin.rule_editor.part import marks_of
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
        if not flag._state.adding:
            stored = all_rows(type(flag)).filter(pk=flag.pk).first()
            # If the flag was deleted meanwhile, the write reports it.
            edit = planned_edit(stored, form.changed_fields) if stored else None
            page_of(request).users_text = impact_text(edit) if edit else ""
            return edit
        after = FlagState.of(flag)
        plan = planned(flag.key, replace(after, enabled=False), after)
        plan = replace(plan, added=len(form.cleaned_data.get(ALLOWED) or ()))
        reaches_users = after.reaches_users(lambda: plan.added)
        if reaches_users and not may(self.admin.admin_site, request, "toggle", flag):
            text = _(
                "users would have the new flag at once, and you do not have the permission to "
                "change or toggle flags. Untick “Enabled”, and save again"
            )
            raise InvalidChangeError(text)
        return plan

    def question(
        self, request: HttpRequest, form: MergingForm, plan: Planned
    ) -> Mapping[str, object]:
        """The state before and after the save."""
        is_new = form.instance._state.adding
        allowed = plan.added if is_new else count_allowed_users(stored_row(form.instance))
        rows = preview(plan.before, plan.after, allowed, plan.impact)
        if is_new:
            rows = [replace(row, now=_("does not exist")) for row in rows]
        else:
            rows += rows_of_change(self.admin, [form.instance])[str(form.instance.pk)]
        return {
            "title": _("Add a flag") if is_new else _("Save a flag"),
            "flagstaff_rows": rows,
            "flagstaff_notes": [*_notes(plan), *marks_of(form, RULES)],
        }


def _notes(plan: Planned) -> list[str]:
    if plan.before.enabled and plan.before.bucket_by != plan.after.bucket_by:
        texts = [reassigned_text(), plan.anonymous_text]
    else:
        texts = [impact_text(plan), *partial_rule_notices(plan.after)]
    return [text for text in texts if text]
