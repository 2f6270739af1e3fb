"""The form of what is measured, and of when there is a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import metric_names
from flagstaff.experiments.models import Experiment, Method

#: The attributes of text areas, as in the forms of the admin.
AREA = {"class": "vLargeTextField", "rows": 4}


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text without spaces around them, and without empty ones."""
    return [line for line in map(str.strip, text.splitlines()) if line]


class MetricsForm(forms.Form):
    """What is measured, and when there is a verdict."""

    primary_metric = forms.ChoiceField(
        label=gettext_lazy("Primary metric"),
        required=False,
        help_text=gettext_lazy("The metric that decides. It cannot change after the start."),
    )
    other_metrics = forms.MultipleChoiceField(
        label=gettext_lazy("Other metrics"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "Each added metric widens all intervals, because results are corrected for multiple "
            "metrics."
        ),
    )
    guardrails = forms.CharField(
        label=gettext_lazy("Guardrails"),
        required=False,
        widget=forms.Textarea({**AREA, "rows": 3, "class": "vLargeTextField flagstaff-json"}),
        help_text=gettext_lazy(
            "Metrics that must not get worse, one per line with the tolerated harm, such as "
            "refunds=0.01. A guardrail can only stop. After the start, others can be added."
        ),
    )
    method = forms.ChoiceField(
        label=gettext_lazy("Analysis method"),
        choices=Method.choices,
        initial=Method.SEQUENTIAL,
        help_text=gettext_lazy("It cannot change after the start."),
    )
    planned_units = forms.IntegerField(
        label=gettext_lazy("Planned units"),
        min_value=1,
        initial=10_000,
        help_text=gettext_lazy(
            "Of all variants together. Results are most exact at this number. It cannot change "
            "after the start."
        ),
    )
    min_days = forms.IntegerField(
        label=gettext_lazy("Days before a verdict"),
        min_value=0,
        initial=7,
        help_text=gettext_lazy("Whole weeks, because weekends differ from other days."),
    )
    min_units = forms.IntegerField(
        label=gettext_lazy("Units before a verdict"),
        min_value=1,
        initial=100,
        help_text=gettext_lazy("Of each variant."),
    )
    smallest_effect = forms.FloatField(
        label=gettext_lazy("Smallest effect that matters"),
        required=False,
        help_text=gettext_lazy(
            "As a difference of the primary metric, such as 0.01 for one percentage point. Empty: "
            "any effect matters."
        ),
    )

    def __init__(
        self, data: Any = None, *, experiment: Experiment | None = None, **kwargs: Any
    ) -> None:
        initial = {} if experiment is None else _initial(experiment)
        super().__init__(data, initial={**initial, **kwargs.pop("initial", {})}, **kwargs)
        self._experiment = experiment
        names = _names(experiment)
        _set_choices(self.fields["primary_metric"], [("", _("none yet"))], names)
        _set_choices(self.fields["other_metrics"], [], names)
        if not names:
            del self.fields["other_metrics"]

    def clean_guardrails(self) -> dict[str, float]:
        """Parses the lines."""
        return dict(_guardrail(line) for line in lines_of(self.cleaned_data["guardrails"]))

    def clean_smallest_effect(self) -> float | None:
        """Refuses to remove it, because None means that it stays as it is."""
        effect: float | None = self.cleaned_data["smallest_effect"]
        if effect is not None and effect <= 0:
            raise ValidationError(_("Write a number above 0."))
        experiment = self._experiment
        if effect is None and experiment is not None and experiment.smallest_effect is not None:
            raise ValidationError(_("It cannot be removed. Write another number."))
        return effect

    def metrics(self) -> dict[str, Any]:
        """Returns the arguments of `set_metrics`."""
        given = self.cleaned_data
        return {
            "primary": given["primary_metric"],
            "others": given.get("other_metrics", []),
            "guardrails": given["guardrails"],
            "method": Method(given["method"]),
            "planned_units": given["planned_units"],
            "min_days": given["min_days"],
            "min_units": given["min_units"],
            "smallest_effect": given["smallest_effect"],
        }


def _names(experiment: Experiment | None) -> list[str]:
    """Returns the names of all metrics, and those that the experiment has."""
    try:
        names = metric_names()
    except ConfigurationError:
        # A system check reports the setting.
        names = []
    if experiment is None:
        return names
    own = (experiment.primary_metric, *experiment.other_metrics)
    return list(dict.fromkeys([*names, *(name for name in own if name)]))


def _set_choices(
    field: forms.Field, first: Sequence[tuple[str, str | Promise]], names: Sequence[str]
) -> None:
    if isinstance(field, forms.ChoiceField):
        field.choices = [*first, *((name, name) for name in names)]


def _initial(experiment: Experiment) -> dict[str, Any]:
    guardrails: Mapping[str, float] = experiment.guardrails
    return {
        "primary_metric": experiment.primary_metric,
        "other_metrics": experiment.other_metrics,
        "guardrails": "\n".join(f"{name}={limit}" for name, limit in guardrails.items()),
        "method": experiment.method,
        "planned_units": experiment.planned_units,
        "min_days": experiment.min_days,
        "min_units": experiment.min_units,
        "smallest_effect": experiment.smallest_effect,
    }


def _guardrail(text: str) -> tuple[str, float]:
    name, _equals, tolerated = text.partition("=")
    try:
        number = float(tolerated or 0)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problem = _("“%(line)s” is no guardrail. Write a metric and a number: refunds=0.01")
        raise ValidationError(problem % {"line": text})
    return name.strip(), number
