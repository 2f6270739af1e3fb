"""The form of a plan: two usual guards, the steps, and what is folded. Empty rows are ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.text import localized
from flagstaff.admin.views import MAX_REASON_LENGTH, reason_required
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.guards import ERRORS, FUNCTION, LATENCY, Guard, valid_guards
from flagstaff.rollouts.steps import DEFAULT_STEPS, Step, valid_steps
from flagstaff.validators import KEY_MAX_LENGTH

if TYPE_CHECKING:
    _Rows = forms.BaseFormSet[Any]
else:
    _Rows = forms.BaseFormSet

_UNITS: tuple[tuple[str, str | Promise], ...] = (
    ("1", gettext_lazy("seconds")),
    ("60", gettext_lazy("minutes")),
    ("3600", gettext_lazy("hours")),
    ("86400", gettext_lazy("days")),
)
_KINDS: tuple[tuple[str, str | Promise], ...] = (
    ("", "\N{EN DASH}"),
    (ERRORS, gettext_lazy("errors")),
    (LATENCY, gettext_lazy("latency")),
    (FUNCTION, gettext_lazy("function")),
)
_ACTIONS: tuple[tuple[str, str | Promise], ...] = (
    ("rollback", gettext_lazy("rolls back")),
    ("hold", gettext_lazy("holds the plan")),
)
_ALL = 100
_DEFAULT_LIMIT, _DEFAULT_TOLERATED = Guard.limit, Guard.tolerated
_SECONDS = "1"
_WITHOUT_SECONDS = gettext_lazy("Write the seconds above which a request is too slow.")
# More rows than a form has by default are no attack; thousands would be.
_MAX_ROWS = 100


class KeyInput(forms.TextInput):
    """A text input that suggests the keys of flags."""

    template_name = "flagstaff/unit_input.html"

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__({"class": "vTextField", "autocomplete": "off", "list": "plan_keys"})
        self.keys = keys

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the keys."""
        return {**super().get_context(name, value, attrs), "units": self.keys}


class PlanForm(forms.Form):
    """What a plan has besides steps and guards. The reason is posted as in all forms."""

    key = forms.CharField(label=gettext_lazy("Flag"), max_length=KEY_MAX_LENGTH, strip=False)
    watch_errors = forms.BooleanField(
        label=gettext_lazy("Roll back if users with the flag fail more often"),
        required=False,
        initial=True,
    )
    watch_latency = forms.BooleanField(
        label=gettext_lazy("Roll back if requests with the flag are more often slower than"),
        required=False,
    )
    latency_seconds = forms.FloatField(
        label=gettext_lazy("Seconds"), required=False, min_value=0, initial=_SECONDS
    )
    required_users = forms.IntegerField(
        label=gettext_lazy("Required users"),
        min_value=1,
        help_text=gettext_lazy(
            "If the guards cannot decide, a step passes after this many users with the flag."
        ),
    )

    def __init__(self, *args: Any, keys: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].widget = KeyInput(keys)
        self.fields["_reason"] = forms.CharField(
            label=gettext_lazy("Reason"),
            required=conf.require_reason,
            error_messages={"required": reason_required()},
            max_length=MAX_REASON_LENGTH,
            widget=forms.TextInput({"class": "vTextField"}),
        )

    def guards(self) -> list[Guard]:
        """Returns the guards of the two boxes of a valid form."""
        found = [Guard(ERRORS)] if self.cleaned_data.get("watch_errors") else []
        if self.cleaned_data.get("watch_latency"):
            found.append(Guard(LATENCY, seconds=self.cleaned_data["latency_seconds"]))
        return found

    def clean(self) -> dict[str, Any]:
        """Refuses the box of latency without seconds."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        name = "latency_seconds"
        if cleaned.get("watch_latency") and not cleaned.get(name) and name not in self.errors:
            self.add_error(name, _WITHOUT_SECONDS)
        return cleaned


class StepRow(forms.Form):
    """A step. A row without a percentage and a time is ignored."""

    percent = forms.IntegerField(
        label=gettext_lazy("Percent"), min_value=1, max_value=_ALL, required=False
    )
    time = forms.FloatField(label=gettext_lazy("Time"), min_value=0, required=False)
    unit = forms.ChoiceField(
        label=gettext_lazy("Unit"), choices=_UNITS, initial="3600", required=False
    )

    def step(self) -> Step | None:
        """Returns the step of a valid row; None if the row is empty."""
        percent, time = self.cleaned_data.get("percent"), self.cleaned_data.get("time")
        if percent is None:
            return None
        return Step(percent, (time or 0) * int(self.cleaned_data.get("unit") or 3600))

    def clean(self) -> dict[str, Any]:
        """Refuses a time without a percentage."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("time") and cleaned.get("percent") is None and "percent" not in self.errors:
            self.add_error("percent", _("Write the percentage, or empty the row."))
        return cleaned


class GuardRow(forms.Form):
    """A guard. A row without a kind is ignored."""

    kind = forms.ChoiceField(label=gettext_lazy("Guard"), choices=_KINDS, required=False)
    limit = forms.FloatField(
        label=gettext_lazy("Limit (times as often)"),
        initial=f"{_DEFAULT_LIMIT:g}",
        min_value=1,
        required=False,
    )
    tolerated = forms.FloatField(
        label=gettext_lazy("Tolerated (times as often)"),
        initial=f"{_DEFAULT_TOLERATED:g}",
        min_value=1,
        required=False,
    )
    seconds = forms.FloatField(label=gettext_lazy("Seconds"), min_value=0, required=False)
    path = forms.CharField(label=gettext_lazy("Function"), required=False)
    action = forms.ChoiceField(label=gettext_lazy("What it does"), choices=_ACTIONS, required=False)

    def guard(self) -> Guard | None:
        """Returns the guard of a row; None if the row is empty."""
        kind = self.cleaned_data.get("kind")
        if not kind:
            return None
        seconds = self.cleaned_data.get("seconds") if kind == LATENCY else None
        return Guard(
            kind,
            limit=self.cleaned_data.get("limit") or _DEFAULT_LIMIT,
            tolerated=self.cleaned_data.get("tolerated") or _DEFAULT_TOLERATED,
            action=self.cleaned_data.get("action") or "rollback",
            seconds=seconds,
            path=self.cleaned_data.get("path") or "" if kind == FUNCTION else None,
        )

    def clean(self) -> dict[str, Any]:
        """Refuses a guard that is not valid. Imports the function of a function guard."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        kind = cleaned.get("kind")
        if kind == LATENCY and not cleaned.get("seconds") and "seconds" not in self.errors:
            self.add_error("seconds", _WITHOUT_SECONDS)
        elif kind == FUNCTION and not cleaned.get("path"):
            self.add_error("path", _("Write the path of the function, such as shop.guards.orders."))
        elif not kind and (cleaned.get("seconds") or cleaned.get("path")):
            self.add_error("kind", _("Choose the guard, or empty the row."))
        elif not self.errors and (guard := self.guard()):
            try:
                valid_guards([guard])
            except InvalidPlanError as error:
                self.add_error(None, localized(error.message))
        return cleaned


class StepRows(_Rows):
    """The steps of a plan."""

    def clean(self) -> None:
        """Refuses steps that are not valid together."""
        if any(self.errors):
            return
        try:
            valid_steps(self.steps())
        except InvalidPlanError as error:
            raise forms.ValidationError(localized(error.message)) from error

    def steps(self) -> list[Step]:
        """Returns the steps, without empty rows."""
        return [step for row in self.forms if (step := row.step()) is not None]


class GuardRows(_Rows):
    """The guards of a plan."""

    def clean(self) -> None:
        """Refuses guards that are given twice."""
        if any(self.errors):
            return
        try:
            valid_guards(self.guards())
        except InvalidPlanError as error:
            raise forms.ValidationError(localized(error.message)) from error

    def guards(self) -> list[Guard]:
        """Returns the guards, without empty rows."""
        return [guard for row in self.forms if (guard := row.guard()) is not None]


def step_rows(data: Any = None, steps: Sequence[Step] = ()) -> StepRows:
    """Returns the rows of the steps: those posted, or these."""
    initial = []
    for step in steps:
        unit = next((one for one in (86_400, 3600, 60) if step.seconds % one == 0), 1)
        time = f"{step.seconds / unit:.15g}"
        initial.append({"percent": step.percent, "time": time, "unit": str(unit)})
    found: StepRows = _formset(StepRow, StepRows, 0 if steps else 1)(
        data, prefix="steps", initial=initial
    )
    return found


def usual_steps(above: int, least: int) -> list[Step]:
    """Returns the default steps above a percentage.

    The first one has `least` percent if the default is less: see `first_step`.
    """
    steps = [step for step in DEFAULT_STEPS if step.percent > above]
    if steps and steps[0].percent < least < _ALL:
        first = replace(steps[0], percent=least)
        steps = [first, *(step for step in steps if step.percent > least)]
    return steps


def guard_rows(data: Any = None, guards: Sequence[Guard] = ()) -> GuardRows:
    """Returns the rows of the guards that have no box: those posted, or these, and an empty one."""
    initial = [
        {
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in asdict(guard).items()
            if value
        }
        for guard in guards
    ]
    found: GuardRows = _formset(GuardRow, GuardRows, 1)(data, prefix="guards", initial=initial)
    return found


def boxes_and_rows(guards: Sequence[Guard]) -> tuple[dict[str, Any], list[Guard]]:
    """Returns the values of the boxes for the guards of a plan, and the guards that need a row."""
    boxes: dict[str, Any] = {"watch_errors": False, "watch_latency": False}
    rows = []
    for guard in guards:
        box = f"watch_{guard.kind}"
        is_usual = guard == Guard(guard.kind, seconds=guard.seconds)
        if not is_usual or boxes.get(box, True):
            rows.append(guard)
            continue
        boxes[box] = True
        if guard.kind == LATENCY:
            boxes["latency_seconds"] = f"{guard.seconds:g}"
    return boxes, rows


def _formset(row: type[forms.Form], rows: type[Any], extra: int) -> Any:
    return forms.formset_factory(
        row, formset=rows, extra=extra, max_num=_MAX_ROWS, absolute_max=_MAX_ROWS
    )
