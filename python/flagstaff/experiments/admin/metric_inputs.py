"""The metrics of the project in forms: their descriptions and units, and the rows of guardrails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import Metric, find_metric, metric_names

_POINTS = 100
# Rows in which nothing is typed yet, and the most that are read.
_EMPTY_ROWS, _MAX_ROWS = 2, 100


class MetricChoices:
    """The metrics of the setting, and others that an experiment has."""

    def __init__(self, own: Sequence[str] = ()) -> None:
        try:
            names = metric_names()
        except ConfigurationError:
            # A system check reports the setting.
            names = []
        found = dict.fromkeys([*names, *filter(None, own)])
        self._metrics: dict[str, Metric | None] = {name: _metric(name) for name in found}

    def __bool__(self) -> bool:
        return bool(self._metrics)

    def choices(self) -> list[tuple[str, str]]:
        """Returns the names, each with its description."""
        return [(name, self._label(name)) for name in self._metrics]

    def guardrail_choices(self) -> list[tuple[str, str]]:
        """Returns the same, with the unit of the tolerated harm."""
        return [(name, self._label(name, self.unit(name))) for name in self._metrics]

    def is_share(self, name: str) -> bool:
        """Whether each unit has the value 0 or 1, so that people write percentage points."""
        metric = self._metrics.get(name)
        return metric is not None and metric.is_proportion

    def unit(self, name: str) -> str:
        """Returns the unit of an effect on a metric."""
        return _("percentage points") if self.is_share(name) else _("in the unit of its values")

    def typed(self, name: str, stored: float) -> str:
        """Returns an effect as a person writes it."""
        number = Decimal(repr(stored)) * (_POINTS if self.is_share(name) else 1)
        return f"{number.normalize():f}"

    def stored(self, name: str, typed: Decimal) -> float:
        """Returns what a person has written as the table stores it."""
        return float(typed / _POINTS if self.is_share(name) else typed)

    def _label(self, name: str, unit: str = "") -> str:
        metric = self._metrics[name]
        text = metric.description if metric else ""
        named = f"{name} ({unit})" if unit else name
        return f"{named} \N{EN DASH} {text}" if text else named


class GuardrailsInput(forms.Widget):
    """A row for each guardrail, with a metric and a number, and some empty rows."""

    template_name = "flagstaff/experiments/guardrails.html"
    use_fieldset = True

    def __init__(self, metrics: MetricChoices) -> None:
        super().__init__()
        self.metrics = metrics

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template, with the rows."""
        rows = [*(value or []), *[("", "")] * _EMPTY_ROWS]
        units = [self.metrics.unit(metric) if metric else "" for metric, _harm in rows]
        return {
            **super().get_context(name, value, attrs),
            "rows": [(*row, unit) for row, unit in zip(rows, units, strict=True)],
            "choices": self.metrics.guardrail_choices(),
        }

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> list[tuple[str, str]]:
        """The rows in which something was typed."""
        rows = []
        for number in range(_MAX_ROWS):
            metric, harm = (data.get(f"{name}-{number}-{part}", "") for part in ("metric", "harm"))
            if metric or harm.strip():
                rows.append((metric, harm.strip()))
        return rows

    def value_omitted_from_data(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> bool:
        """Whether the form had no rows."""
        return f"{name}-0-metric" not in data

    def id_for_label(self, id_: str) -> str:
        """The label is that of the group."""
        return ""


class GuardrailsField(forms.Field):
    """The tolerated harm by metric, as the table stores it."""

    widget: GuardrailsInput

    def __init__(self, metrics: MetricChoices, **kwargs: Any) -> None:
        super().__init__(widget=GuardrailsInput(metrics), required=False, **kwargs)

    def prepare_value(self, value: Any) -> list[tuple[str, str]]:
        """The rows: as they were typed, or of what is stored."""
        if not isinstance(value, Mapping):
            return value or []
        metrics = self.widget.metrics
        return [(name, metrics.typed(name, harm)) for name, harm in value.items()]

    def clean(self, value: Any) -> dict[str, float]:
        """Parses the rows."""
        found: dict[str, float] = {}
        for metric, text in value or []:
            if metric not in dict(self.widget.metrics.choices()):
                raise ValidationError(_("Choose the metric of %(harm)s.") % {"harm": text})
            if metric in found:
                raise ValidationError(_("%(metric)s has two rows.") % {"metric": metric})
            found[metric] = self.widget.metrics.stored(metric, _number(metric, text))
        return found


def _metric(name: str) -> Metric | None:
    try:
        return find_metric(name)
    except ConfigurationError:
        return None


def _number(metric: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        problem = _("Write how much harm of %(metric)s is tolerated, as a number; 0 for none.")
        raise ValidationError(problem % {"metric": metric})
    return number
