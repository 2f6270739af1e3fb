"""The page that confirms a save which gives users another value: who gets what, now and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._engine.value_impact import ValueImpact
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.optional_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff._tables.value_states import ValueState
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of
from flagstaff.admin.rule_editor.part import marks_of
from flagstaff.admin.rule_editor.sentences import results_html
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.admin.value.form import EVERYONE
from flagstaff.admin.value.impact import changed_text, count_users, kept_text, notes_of
from flagstaff.admin.value.rules import DECIDING, has_rules
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.kept_by_rules import kept_by_rules
from flagstaff.history.describe import describe_value, field_label


@dataclass(frozen=True)
class ValuePlan:
    """What a save would do to a value that has rules before or after it."""

    key: str
    before: ValueState
    after: ValueState
    #: Whether the value itself changes, and rules still give another one.
    keeps_others: bool
    consequence: Consequence
    #: A person sees who gets what, and types nothing.
    text_to_type: str = ""

    @cached_property
    def impact(self) -> ValueImpact | None:
        """The users of each value before and after; None if they cannot be counted."""
        return count_users(self.key, self.before, self.after)

    @property
    def text(self) -> str:
        """The sentence about the users."""
        return kept_text(self.impact) if self.keeps_others else changed_text(self.impact)


class ValueQuestion(SaveQuestion):
    """Asks before a save that changes rules, or the value itself while rules give others."""

    def plan(self, request: HttpRequest, form: MergingForm) -> ValuePlan | None:
        """What the save would do; None if no rules decide about it. A new value has no users."""
        row, fields = form.instance, form.changed_fields
        edited = {name: fields[name] for name in DECIDING if name in fields}
        if row._state.adding or not edited or not has_rules(self.admin.model):
            return None
        stored = all_rows(self.admin.model).filter(pk=row.pk).first()
        if stored is None:  # The write reports that it was deleted.
            return None
        before = ValueState.of(stored)
        secret = before.is_secret or bool(fields.get("secret"))
        after = replace(before, **edited, is_secret=secret)
        if not (before.has_rules or after.has_rules):
            return None
        keeps_others = kept_by_rules(stored, fields) is not None
        asks = keeps_others or (before.rules, before.bucket_by) != (after.rules, after.bucket_by)
        consequence = Consequence.WIDENS if asks else Consequence.NONE
        plan = ValuePlan(
            row.key, replace(before, is_secret=secret), after, keeps_others, consequence
        )
        page_of(request).users_text = plan.text
        return plan

    def question(
        self, request: HttpRequest, form: MergingForm, plan: ValuePlan
    ) -> Mapping[str, object]:
        """Who gets what before and after the save."""
        impact, site = plan.impact, self.admin.admin_site
        before, after = (None, None) if impact is None else (impact.before, impact.after)
        now = results_html(plan.before, site, request, notes_of(before))
        then = results_html(plan.after, site, request, notes_of(after))
        rows = [PreviewRow(_("who gets what"), now, then)]
        if plan.before.bucket_by != plan.after.bucket_by:
            units = plan.before.bucket_by, plan.after.bucket_by
            texts = (describe_value(unit, field=BUCKET_BY) for unit in units)
            rows.append(PreviewRow(field_label(BUCKET_BY), *texts))
        other = (EVERYONE, _("Set for everyone (removes the rules)"))
        return {
            "title": _("Save a value"),
            "flagstaff_rows": rows,
            "flagstaff_notes": [plan.text, *marks_of(form, RULES)],
            # Without their field, the form cannot write the rules.
            "flagstaff_other_button": other if plan.keeps_others and RULES in form.fields else None,
        }
