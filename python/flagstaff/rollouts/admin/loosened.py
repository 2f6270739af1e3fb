"""Refuses to loosen a plan that runs, at the fields of its form."""

from __future__ import annotations

from collections.abc import Iterator

from django import forms
from django.utils.translation import gettext as _

from flagstaff._words.text import local_number
from flagstaff.rollouts.admin.forms import GuardRow, GuardRows, PlanForm
from flagstaff.rollouts.admin.texts import guard_label, limit_text
from flagstaff.rollouts.editing import loosened_guards
from flagstaff.rollouts.guards import Guard, guards_from_json
from flagstaff.rollouts.models import WATCHED_STATES, Plan

_Mark = tuple[forms.Form, str, str]


def mark_loosened(plan: Plan, form: PlanForm, rows: GuardRows) -> bool:
    """Marks the fields of valid forms that would loosen a plan that runs. Whether there is one."""
    marks = [*_marks(plan, form, rows)] if plan.state in WATCHED_STATES else []
    how = _("First pause the plan on its page, and resume it after the edit.")
    for marked, name, why in marks:
        marked.add_error(name, f"{why} {how}")
    return bool(marks)


def _marks(plan: Plan, form: PlanForm, rows: GuardRows) -> Iterator[_Mark]:
    """Yields the form of each field, the name of the field, and why it is refused."""
    row_of = {row.guard(): row for row in rows.forms}
    # The form was opened with the guards in this order.
    old_row_of = dict(zip(guards_from_json(plan.guards), rows.forms, strict=False))
    for old, new, names in loosened_guards(plan, rows.guards()):
        if new is not None:
            yield from ((row_of[new], name, _guard_text(old, name)) for name in names)
        elif old in old_row_of:
            text = _("The guard “%(guard)s” cannot be removed while the plan runs.")
            yield old_row_of[old], "kind", text % {"guard": guard_label(old)}
    if form.cleaned_data["required_users"] < plan.required_users:
        text = _("At least %(users)s while the plan runs.")
        yield form, "required_users", text % {"users": local_number(plan.required_users)}


def _guard_text(old: Guard, name: str) -> str:
    if name == "action":
        return _("This guard rolls back, and cannot be changed to hold while the plan runs.")
    text = _("%(field)s: at most %(limit)s while the plan runs.")
    label = GuardRow.base_fields[name].label
    return text % {"field": label, "limit": limit_text(getattr(old, name))}
