"""The report of an experiment: what the page, the command and programs show.

Its fields are the members of its JSON. A bound or a figure that is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import Enum
from typing import Any

from flagstaff._words.text import Text
from flagstaff.experiments.statistics import Outcome, Statement


class Role(str, Enum):
    """What a metric is for."""

    PRIMARY = "primary"
    OTHER = "other"
    GUARDRAIL = "guardrail"


@dataclass(frozen=True)
class EffectReport:
    """An effect with its interval."""

    value: float
    standard_error: float
    low: float | None
    high: float | None

    @property
    def has_interval(self) -> bool:
        """Whether a bound is known."""
        return (self.low, self.high) != (None, None)

    @property
    def contains_zero(self) -> bool:
        """Whether no effect is possible."""
        return (self.low is None or self.low <= 0) and (self.high is None or self.high >= 0)

    def scaled(self, divisor: float) -> EffectReport:
        """Returns the effect in relation to a positive number."""
        low, high = (one if one is None else one / divisor for one in (self.low, self.high))
        return EffectReport(self.value / divisor, self.standard_error / divisor, low, high)


@dataclass(frozen=True)
class LookReport:
    """A treatment against the control at the end of an hour."""

    at: datetime
    #: Of both variants.
    units: int
    control: float
    treatment: float
    #: What decides, so this is what is drawn.
    difference: EffectReport
    #: The same in relation to the value of the control, as the page and the command show it: its
    #: interval excludes 0 exactly if that of the difference does. None where the control is near 0.
    relative_difference: EffectReport | None
    #: The lift with an interval of its own, by the delta method. It has the uncertainty of the
    #: control, too, so it can contain 0 where the difference does not.
    lift: EffectReport | None


@dataclass(frozen=True)
class MissingUnits:
    """What a variant still needs for an interval."""

    variant: str
    #: "units", units "with_value" other than 0, or units "without_value" of a proportion.
    what: str
    units: int


@dataclass(frozen=True)
class StratumReport:
    """The sums of one phase, from which everything else of the look can be computed."""

    phase: int
    control: Mapping[str, float]
    treatment: Mapping[str, float]
    theta: float | None
    variance_reduction: float | None


@dataclass(frozen=True)
class NewestLook(LookReport):
    """The newest look, with what it is computed from."""

    control_standard_error: float
    treatment_standard_error: float
    p_value: float
    missing_for_interval: Sequence[MissingUnits]
    phases: Sequence[StratumReport]


@dataclass(frozen=True)
class LookColumns:
    """Some of the looks as columns. A p value is None where a look has no interval."""

    #: The number of all looks.
    count: int
    first: datetime | None
    #: After the first one.
    hours: Sequence[int]
    units: Sequence[int]
    control: Sequence[float]
    control_standard_error: Sequence[float]
    treatment: Sequence[float]
    treatment_standard_error: Sequence[float]
    p_value: Sequence[float | None]


@dataclass(frozen=True)
class TreatmentReport:
    """What a metric has shown of a treatment."""

    treatment: str
    #: The smallest of all looks.
    p_value: float
    #: By Holm; None for a guardrail, which is not in the correction.
    corrected_p_value: float | None
    is_significant: bool
    #: The look that decided, and its difference.
    decided_at: datetime | None
    decided_difference: float | None
    interval_alpha: float
    newest: NewestLook | None
    looks: LookColumns
    #: Of a guardrail: what is tolerated, and how much worse it is at least by all looks.
    tolerated_harm: float | None = None
    harm_bound: float | None = None
    is_harmed: bool | None = None


@dataclass(frozen=True)
class MetricReport:
    """A metric with its results; or with the error why it has none."""

    metric: str
    role: Role
    #: Units whose window was over at the last full hour.
    units: int = 0
    #: Why there is no result. A stored report has it in English.
    error: str | None = None
    #: "conversion", "mean", "ratio" or "retention"; empty if the metric fails.
    kind: str = ""
    description: str = ""
    higher_is_better: bool = True
    is_proportion: bool = False
    window_seconds: float = 0.0
    #: Of a retention.
    day: int | None = None
    treatments: Sequence[TreatmentReport] = ()


@dataclass(frozen=True)
class VerdictReport:
    """The verdict on a treatment."""

    treatment: str
    outcome: Outcome
    may_conclude: Sequence[Statement]
    may_not_conclude: Sequence[Statement]
    #: Guardrails that got worse, and those that cannot be computed.
    harmed: Sequence[str]
    failed: Sequence[str]
    missing_days: float
    missing_units: int
    largest_possible_effect: float | None


@dataclass(frozen=True)
class VariantReport:
    """A variant, and the share of all units that it has now."""

    key: str
    weight: int
    share: float
    description: str = ""


@dataclass(frozen=True)
class SettingsReport:
    """The settings of the experiment."""

    variants: Sequence[VariantReport]
    traffic_percent: int
    bucket_by: str
    rules: Any
    shuffle: int
    method: str
    planned_units: int
    min_days: int
    min_units: int
    smallest_effect: float | None
    alpha: float


@dataclass(frozen=True)
class PhaseReport:
    """A phase since the last shuffle."""

    number: int
    #: The share of all units by variant, also of those that are analysed.
    shares: Mapping[str, float]
    analysed_shares: Mapping[str, float]
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class DayUnits:
    """The units of each variant on a day, in UTC."""

    day: date
    units: Mapping[str, int]


@dataclass(frozen=True)
class HourColumns:
    """The units by the hour of their exposure and by phase, as columns."""

    first: datetime | None
    hours: Sequence[int]
    phase: Sequence[int]
    units: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class ExposureReport:
    """The units of each variant, and what is missing."""

    units: Mapping[str, int]
    expected: Mapping[str, float]
    #: The share of the units that take part, as the weights give it and as it was seen.
    planned_shares: Mapping[str, float]
    seen_shares: Mapping[str, float | None]
    present_hour: Mapping[str, int]
    met_two_variants: int
    moved: int
    lost: int
    left_out: int
    #: Visitors whose browser has come back; None for other units.
    returned: Mapping[str, int] | None
    workers_without_last_report: int
    mismatch_p_value: float
    chi_square_p_value: float
    days: Sequence[DayUnits]
    hours: HourColumns


@dataclass(frozen=True)
class Report:
    """What an experiment has shown until the last full hour."""

    key: str
    description: str
    owner: str
    state: str
    winner: str | None
    #: Whether FLAGSTAFF_FORCE_OFF turns the experiment off in this process.
    forced_off: bool
    #: When the report was stored; None for one that is computed now.
    frozen_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    settings: SettingsReport
    phases: Sequence[PhaseReport]
    exposures: ExposureReport
    #: Whether the shares are wrong. Then no figure is valid, and no metric has results.
    has_mismatch: bool
    #: One for each treatment; none if the primary metric fails.
    verdicts: Sequence[VerdictReport]
    metrics: Sequence[MetricReport]

    @property
    def variants(self) -> list[str]:
        """The keys of the variants, the control first."""
        return [variant.key for variant in self.settings.variants]

    def metric_error(self, *, every_metric: bool = False) -> str:
        """Returns why a metric that the verdict needs fails, as a message; empty if none does.

        These are the primary metric and the guardrails, or every metric.
        """
        for one in self.metrics:
            if one.error and (every_metric or one.role is not Role.OTHER):
                return Text(
                    "the metric {metric} fails: {error}", metric=one.metric, error=one.error
                )
        return ""

    def ended(self, at: datetime | None) -> Report:
        """Returns the report of an experiment that has ended then."""
        phases = [replace(phase, ended_at=phase.ended_at or at) for phase in self.phases]
        return replace(self, ended_at=at, phases=phases)
