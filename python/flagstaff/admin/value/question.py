"""The page that confirms a save which gives users another value: who gets what, now and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._stored_value_schema import VALUE
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.decoding import is_secret
from flagstaff._tables.optional_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.rule_editor.part import marks_of
from flagstaff.admin.rule_editor.sentences import results_html
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.admin.value.form import EVERYONE
from flagstaff.admin.value.rules import has_rules
from flagstaff.changes.consequence import Consequence
from flagstaff.history.describe import describe_value, field_label


@dataclass(frozen=True)
class ValuePlan:
    """What a save would do to a value that has rules before or after it."""

    #: The row as it is stored now.
    stored: Any
    #: The fields to write.
    fields: Mapping[str, Any]
    consequence: Consequence
    #: A person has seen who gets what, and types nothing.
    text_to_type: str = ""

    def after(self, name: str) -> Any:
        """Returns a field as it would be after the save."""
        return self.fields.get(name, getattr(self.stored, name))

    @property
    def keeps_others(self) -> bool:
        """Whether the value itself changes, and rules still give another one."""
        return VALUE in self.fields and self.after(RULES) not in (None, [])


class ValueQuestion(SaveQuestion):
    """Asks before a save that changes rules, or the value itself while rules give others."""

    def plan(self, request: HttpRequest, form: MergingForm) -> ValuePlan | None:
        """What the save would do; None if no rules decide about it. A new value has no users."""
        value, fields = form.instance, form.changed_fields
        if value._state.adding or not has_rules(self.admin.model):
            return None
        stored = all_rows(self.admin.model).filter(pk=value.pk).first()
        if stored is None:  # The write reports that it was deleted.
            return None
        plan = ValuePlan(stored, fields, Consequence.WIDENS)
        has_any = stored.rules not in (None, []) or plan.after(RULES) not in (None, [])
        is_edited = not fields.keys().isdisjoint((VALUE, RULES, BUCKET_BY))
        return plan if has_any and is_edited else None

    def question(
        self, request: HttpRequest, form: MergingForm, plan: ValuePlan
    ) -> Mapping[str, object]:
        """Who gets what before and after the save."""
        now, after = (self._results(request, plan, is_after=one) for one in (False, True))
        rows = [PreviewRow(_("who gets what"), now, after)]
        if BUCKET_BY in plan.fields:
            units = getattr(plan.stored, BUCKET_BY), plan.after(BUCKET_BY)
            texts = (describe_value(unit, field=BUCKET_BY) for unit in units)
            rows.append(PreviewRow(field_label(BUCKET_BY), *texts))
        other = (EVERYONE, _("Set for everyone (removes the rules)"))
        return {
            "title": _("Save a value"),
            "flagstaff_rows": rows,
            "flagstaff_notes": [*_notes(plan), *marks_of(form, RULES)],
            "flagstaff_other_button": other if plan.keeps_others else None,
        }

    def _results(self, request: HttpRequest, plan: ValuePlan, *, is_after: bool) -> SafeString:
        own, rules = (
            plan.after(name) if is_after else getattr(plan.stored, name) for name in (VALUE, RULES)
        )
        secret = is_secret(plan.stored) or bool(plan.fields.get("secret"))
        return results_html(own, rules or [], self.admin.admin_site, request, secret=secret)


def _notes(plan: ValuePlan) -> list[str]:
    notes = []
    if plan.keeps_others:
        notes.append(_("The rules stay: users for whom a rule decides keep another value."))
    if BUCKET_BY in plan.fields:
        notes.append(_("The new unit reassigns every user of a rule for less than 100 %."))
    return notes
