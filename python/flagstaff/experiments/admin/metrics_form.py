"""The form of what is measured, and of when there is a verdict."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.experiments.admin.metric_inputs import GuardrailsField, MetricChoices
from flagstaff.experiments.models import Experiment, Method


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
    smallest_effect = forms.DecimalField(
        label=gettext_lazy("Smallest effect that matters"),
        required=False,
        help_text=gettext_lazy(
            "On the primary metric: of a share in percentage points, such as 1, else in the unit "
            "of its values. Empty: any effect matters."
        ),
    )

    def __init__(
        self, data: Any = None, *, experiment: Experiment | None = None, **kwargs: Any
    ) -> None:
        own = () if experiment is None else (experiment.primary_metric, *experiment.other_metrics)
        guardrails = {} if experiment is None else experiment.guardrails
        self._known = known = MetricChoices([*own, *guardrails])
        initial = {} if experiment is None else self._initial(experiment)
        super().__init__(data, initial={**initial, **kwargs.pop("initial", {})}, **kwargs)
        self._experiment = experiment
        self.fields["guardrails"] = GuardrailsField(
            known,
            label=_("Guardrails"),
            help_text=_(
                "Metrics that must not get worse, and how much worse is tolerated: of a share in "
                "percentage points, such as 1, else in the unit of its values. A guardrail can "
                "only stop. After the start, others can be added."
            ),
        )
        for name, first in (("primary_metric", [("", _("none yet"))]), ("other_metrics", [])):
            field = self.fields[name]
            if isinstance(field, forms.ChoiceField):
                field.choices = [*first, *known.choices()]
        if not known:
            del self.fields["other_metrics"]
        self.order_fields(["primary_metric", "other_metrics", "guardrails"])

    def _initial(self, experiment: Experiment) -> dict[str, Any]:
        effect, primary = experiment.smallest_effect, experiment.primary_metric
        return {
            "primary_metric": primary,
            "other_metrics": experiment.other_metrics,
            "guardrails": experiment.guardrails,
            "method": experiment.method,
            "planned_units": experiment.planned_units,
            "min_days": experiment.min_days,
            "min_units": experiment.min_units,
            "smallest_effect": None if effect is None else self._known.typed(primary, effect),
        }

    def clean_smallest_effect(self) -> Decimal | None:
        """Refuses to remove it, because None means that it stays as it is."""
        effect: Decimal | None = self.cleaned_data["smallest_effect"]
        if effect is not None and effect <= 0:
            raise ValidationError(_("Write a number above 0."))
        experiment = self._experiment
        if effect is None and experiment is not None and experiment.smallest_effect is not None:
            raise ValidationError(_("It cannot be removed. Write another number."))
        return effect

    def effect(self) -> float | None:
        """Returns the effect in the unit in which the table stores it."""
        effect, primary = (self.cleaned_data.get(n) for n in ("smallest_effect", "primary_metric"))
        return None if effect is None else self._known.stored(primary or "", effect)

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
            "smallest_effect": self.effect(),
        }
