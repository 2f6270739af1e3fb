"""The page that confirms a save which changes who has a flag: it shows the impact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff.actions.rights import lacking
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.flag.state import partial_rule_notices, preview
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of
from flagstaff.admin.rights import may
from flagstaff.admin.rule_editor.part import marks_of
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.impact import Impact, RowState, impact, reached
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind


class ReleaseQuestion(SaveQuestion):
    """Asks before a save that gives the flag to users, or takes it from them."""

    def impact(self, request: HttpRequest, form: MergingForm) -> Impact | None:
        """What the save means; None if the flag was deleted, which the write reports.

        The right to add flags is not the right to give one to users.
        """
        flag = form.instance
        if not flag._state.adding:
            stored = all_rows(type(flag)).filter(pk=flag.pk).first()
            if stored is None:
                return None
            now = RowState(Kind.FLAG, stored)
            return impact([now], [now.after(form.changed_fields)], viewer=request.user)
        allowed = [user.pk for user in form.cleaned_data.get(ALLOWED) or ()]
        after = RowState(Kind.FLAG, flag, allowed)
        if lacking(partial(may, self.admin.admin_site, request), reached([], [after])):
            text = _(
                "users would have the new flag at once, and you do not have the permission to "
                "change or toggle flags. Untick “Enabled”, and save again"
            )
            raise InvalidChangeError(text)
        return impact([RowState(Kind.FLAG, None)], [after], viewer=request.user)

    def asks(self, form: MergingForm, impact: Impact) -> bool:
        """Not before a flag is turned off: nothing delays that."""
        return super().asks(form, impact) and all(one.row.enabled for one in impact.after.values())

    def question(
        self, request: HttpRequest, form: MergingForm, impact: Impact
    ) -> Mapping[str, object]:
        """The state before and after the save."""
        [key] = impact
        is_new = form.instance._state.adding
        rows = preview(impact, key)
        if is_new:
            rows = [replace(row, now=_("does not exist")) for row in rows]
        else:
            rows += rows_of_change(self.admin, [form.instance])[str(form.instance.pk)]
        after = FlagState.of(impact.after[key].row)
        notes = [page_of(request).users_text, *partial_rule_notices(after)]
        return {
            "title": _("Add a flag") if is_new else _("Save a flag"),
            "flagstaff_rows": rows,
            "flagstaff_notes": [*notes, *marks_of(form, RULES)],
        }
