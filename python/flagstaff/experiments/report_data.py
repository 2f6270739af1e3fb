"""The report of an experiment as JSON: what the page, the command and programs show.

A shipped experiment keeps its report for ever. So a member is never renamed and never gets another
meaning: that would be VERSION 2, and reading would bring version 1 into its form.

Times are texts in ISO 8601. A bound or a figure that is not known is None.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

VERSION: Literal[1] = 1

#: What a metric is for.
PRIMARY, OTHER, GUARDRAIL = "primary", "other", "guardrail"


class EffectReport(TypedDict):
    """An effect with its interval."""

    value: float
    standard_error: float
    low: float | None
    high: float | None


class NewestLook(TypedDict):
    """The newest look, with the sums from which everything else of it can be computed."""

    at: str
    units: int
    control: float
    control_standard_error: float
    treatment: float
    treatment_standard_error: float
    #: What decides, so this is what is drawn.
    difference: EffectReport
    #: The same in relation to the value of the control, as the page and the command show it: its
    #: interval excludes 0 exactly if that of the difference does. None where the control is near 0.
    relative_difference: EffectReport | None
    #: The lift with an interval of its own, by the delta method. It has the uncertainty of the
    #: control, too, so it can contain 0 where the difference does not.
    lift: EffectReport | None
    p_value: float
    #: By "control" and "treatment".
    sums: dict[str, dict[str, float]]
    #: With a covariate: so much of x is subtracted, and the share of the variance that is gone.
    theta: float | None
    variance_reduction: float | None


class TreatmentReport(TypedDict):
    """What a metric has shown of a treatment."""

    treatment: str
    #: The smallest of all looks.
    p_value: float
    #: By Holm; None for a guardrail, which is not in the correction.
    corrected_p_value: float | None
    is_significant: bool
    #: The look that decided, and its difference.
    decided_at: str | None
    decided_difference: float | None
    interval_alpha: float
    newest: NewestLook | None
    #: Of a guardrail: what is tolerated, how much worse it is at least by all looks, at 5 %, and
    #: whether that is more than is tolerated.
    tolerated_harm: float | None
    harm_bound: float | None
    is_harmed: bool | None
    #: Whether it is so with the certainty of a stop, which all guardrails share.
    is_stopping: bool | None
    stop_alpha: float | None


class BeforeValue(TypedDict):
    """The units of a variant, and their value; None without one."""

    units: int
    value: float | None


class BeforeReport(TypedDict):
    """The units from before a change of what the rules need, of which no test is made."""

    #: The time of the change. Units whose windows were over by then are counted.
    until: str
    #: By variant.
    variants: dict[str, BeforeValue]


class MetricReport(TypedDict):
    """A metric with its results; or with the error why it has none."""

    metric: str
    role: str
    #: Units whose window was over at the last full hour.
    units: int
    #: Why there is no result. A stored report has it in English.
    error: str | None
    #: Why its results may be wrong, likewise.
    warning: str | None
    #: The day of the experiment, from 1, on which it was added. Only units that were exposed after
    #: that count. None for a metric that was there at the start.
    added_on_day: int | None
    #: "conversion", "mean" or "ratio"; empty if the metric cannot be used.
    kind: str
    description: str
    higher_is_better: bool
    is_proportion: bool
    #: When the window begins after the exposure, and its length.
    after_seconds: float
    window_seconds: float
    treatments: list[TreatmentReport]
    #: None if what the rules need was not changed.
    before: BeforeReport | None


class VerdictReport(TypedDict):
    """The verdict on a treatment."""

    treatment: str
    #: The value of an `Outcome`, and sentences in English.
    outcome: str
    may_conclude: list[str]
    may_not_conclude: list[str]
    #: Guardrails that got worse, and those that cannot be computed.
    harmed: list[str]
    failed: list[str]
    missing_days: float
    missing_units: int
    #: Of an undecided one: so many more units of both variants have four of five experiments that
    #: are without an effect, or with the smallest one that matters, decided. None if it is unknown.
    undecided_units: int | None


class VariantReport(TypedDict):
    """A variant, and the share of the units in the experiment that it gets."""

    key: str
    weight: int
    share: float


class SettingsReport(TypedDict):
    """The settings of the experiment."""

    variants: list[VariantReport]
    traffic_percent: int
    bucket_by: str
    #: As the experiment stores them.
    rules: Any
    #: How often it was restarted.
    run: int
    planned_units: int
    min_days: int
    min_units: int
    smallest_effect: float | None
    alpha: float


class ExposureReport(TypedDict):
    """The units of each variant, and what is missing."""

    units: dict[str, int]
    present_hour: dict[str, int]
    met_two_variants: int
    lost: int
    left_out: int
    #: Visitors whose browser has come back; None for other units.
    returned: dict[str, int] | None
    workers_without_last_report: int
    mismatch_p_value: float


class Report(TypedDict):
    """What an experiment has shown until the last full hour."""

    version: Literal[1]
    key: str
    description: str
    state: str
    winner: str | None
    #: Whether FLAGSTAFF_FORCE_OFF turns the experiment off in this process.
    forced_off: bool
    #: When the report was stored; None for one that is computed now.
    frozen_at: str | None
    started_at: str | None
    ended_at: str | None
    settings: SettingsReport
    exposures: ExposureReport
    #: Whether the shares are wrong. Then no figure is valid, and no metric has results.
    has_mismatch: bool
    #: One for each treatment; none if the primary metric fails and the shares are right.
    verdicts: list[VerdictReport]
    metrics: list[MetricReport]


def has_interval(effect: EffectReport) -> bool:
    """Returns whether a bound is known."""
    return (effect["low"], effect["high"]) != (None, None)
