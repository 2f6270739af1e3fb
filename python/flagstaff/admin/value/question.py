"""The page that confirms a save which gives users another value: who gets what, now and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff._tables.value_states import ValueState
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of
from flagstaff.admin.rule_editor.part import marks_of
from flagstaff.admin.rules.sentences import results_html
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.admin.value.form import EVERYONE
from flagstaff.admin.value.rules import DECIDING
from flagstaff.changes.impact import Impact, RowState, impact
from flagstaff.changes.kept_by_rules import kept_by_rules
from flagstaff.history.describe import describe_value, field_label
from flagstaff.history.kinds import Kind


class ValueQuestion(SaveQuestion):
    """Asks before a save that gives users another value."""

    def impact(self, request: HttpRequest, form: MergingForm) -> Impact | None:
        """What the save means. A new value has no users."""
        row, fields = form.instance, form.changed_fields
        edited = {name: fields[name] for name in DECIDING if name in fields}
        if row._state.adding or not edited:
            return None
        stored = all_rows(self.admin.model).filter(pk=row.pk).first()
        if stored is None:  # The write reports that it was deleted.
            return None
        now = RowState(Kind.VALUE, stored)
        return impact([now], [now.after(edited)], viewer=request.user)

    def asks(self, form: MergingForm, impact: Impact) -> bool:
        """Also if rules keep the new value itself from users."""
        return super().asks(form, impact) or _keeps_others(form, impact)

    def question(
        self, request: HttpRequest, form: MergingForm, impact: Impact
    ) -> Mapping[str, object]:
        """Who gets what before and after the save."""
        [key] = impact
        stored, site = impact.before[key].row, self.admin.admin_site
        sides = [ValueState.of(one) for one in (stored, impact.after[key].row)]
        secret = sides[0].is_secret or bool(form.changed_fields.get("secret"))
        shown = (results_html(replace(one, is_secret=secret), site, request) for one in sides)
        rows = [PreviewRow(_("who gets what"), *shown)]
        if sides[0].bucket_by != sides[1].bucket_by:
            units = (describe_value(one.bucket_by, field=BUCKET_BY) for one in sides)
            rows.append(PreviewRow(field_label(BUCKET_BY), *units))
        keeps = _keeps_others(form, impact)
        kept = _("The rules stay: users for whom a rule decides keep another value.")
        other = (EVERYONE, _("Set for everyone (removes the rules)"))
        texts = [page_of(request).users_text, *([kept] if keeps else [])]
        return {
            "title": _("Save a value"),
            "flagstaff_rows": rows,
            "flagstaff_notes": [*texts, *marks_of(form, RULES)],
            # Without their field, the form cannot write the rules.
            "flagstaff_other_button": other if keeps and RULES in form.fields else None,
        }


def _keeps_others(form: MergingForm, impact: Impact) -> bool:
    rows = (state.row for state in impact.before.values())
    return any(kept_by_rules(row, form.changed_fields) is not None for row in rows)
