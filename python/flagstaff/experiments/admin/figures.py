"""The metrics of a report, as the page shows them: a row for each treatment, on one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.text import localized
from flagstaff.experiments.admin.axis import Axis, Change
from flagstaff.experiments.admin.charts import looks_chart
from flagstaff.experiments.admin.texts import (
    NONE,
    Effect,
    count_text,
    facts,
    guardrail_interval,
    hour_text,
    interval_sentence,
    interval_text,
    level_text,
    number_text,
    p_text,
    percent_text,
    points_text,
    signed,
    verdict,
)
from flagstaff.experiments.look_columns import shown_looks
from flagstaff.experiments.report_data import (
    EffectReport,
    LookReport,
    MetricReport,
    Report,
    Role,
    SettingsReport,
    TreatmentReport,
)
from flagstaff.experiments.words import interval_needs

_ROLES: dict[Role, str | Promise] = {
    Role.PRIMARY: gettext_lazy("primary metric"),
    Role.OTHER: gettext_lazy("other metric"),
    Role.GUARDRAIL: gettext_lazy("guardrail"),
}


@dataclass(frozen=True)
class TreatmentFigures:
    """The newest look at one treatment, in words."""

    treatment: str
    #: The result in words.
    result: str
    #: "fine", "bad" or "open".
    css: str
    control: str = NONE
    value: str = NONE
    difference: str = NONE
    difference_interval: str = ""
    lift: str = NONE
    lift_interval: str = ""
    p_value: str = NONE
    level: str = ""
    #: Of a guardrail: how much worse it is at least, and what is tolerated.
    bound: str = ""
    tolerated: str = ""
    change: Change | None = None
    #: The course over time.
    chart: SafeString | str = ""
    #: Time, units, control, treatment, effect, interval.
    looks: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class MetricRow:
    """A line of the table of all metrics."""

    metric: MetricFigures
    #: None if the metric fails.
    treatment: TreatmentFigures | None = None
    #: The interval on the common axis; empty if it cannot be drawn.
    drawing: SafeString | str = ""
    #: The same in words.
    effect: str = ""


@dataclass(frozen=True)
class MetricFigures:
    """A metric: what it is, and a row for each treatment."""

    name: str
    role: str
    facts: list[str]
    is_primary: bool
    is_guardrail: bool
    is_proportion: bool
    treatments: list[TreatmentFigures]
    #: The name of the effect that the charts draw.
    effect: str
    #: Whether the report has only some of the looks.
    is_thinned: bool
    #: Why there is no result, if the metric fails.
    error: str = ""


def metric_figures(report: Report) -> list[MetricFigures]:
    """Returns all metrics; none if the shares are wrong, because then no figure is valid."""
    if report.has_mismatch:
        return []
    return [_metric(one, number, report.settings) for number, one in enumerate(report.metrics)]


def metric_rows(metrics: Sequence[MetricFigures]) -> tuple[SafeString | str, list[MetricRow]]:
    """Returns the labels of the axis, and a row for each treatment of each metric."""
    pairs = [(metric, one) for metric in metrics for one in metric.treatments or (None,)]
    axis = Axis([one.change for _metric, one in pairs if one and one.change])
    rows = [_row(metric, one, axis) for metric, one in pairs]
    return axis.labels() if any(row.drawing for row in rows) else "", rows


def _row(metric: MetricFigures, one: TreatmentFigures | None, axis: Axis) -> MetricRow:
    if one is None:
        return MetricRow(metric)
    is_relative = one.lift != NONE and not metric.is_guardrail
    effect, interval = (
        (one.lift, one.lift_interval) if is_relative else (one.difference, one.difference_interval)
    )
    if metric.is_proportion and not is_relative and effect != NONE:
        effect = _("%(number)s points") % {"number": effect}
    text = f"{effect} · {interval}" if interval else effect
    if one.tolerated:
        text = _("%(effect)s; tolerated: %(limit)s") % {"effect": text, "limit": one.tolerated}
    drawing = axis.drawing(one.change, one.css, text) if one.change else ""
    return MetricRow(metric, one, drawing, text)


def primary_sentences(metrics: Sequence[MetricFigures]) -> dict[str, str]:
    """Returns the newest figures of the primary metric as a sentence, by treatment."""
    return {
        treatment.treatment: _sentence(metric, treatment)
        for metric in metrics
        if metric.is_primary
        for treatment in metric.treatments
        if treatment.difference != NONE
    }


def _sentence(metric: MetricFigures, one: TreatmentFigures) -> str:
    if one.lift != NONE:
        effect, interval = _("lift %(value)s") % {"value": one.lift}, one.lift_interval
    else:
        text = (
            _("difference in percentage points %(value)s")
            if metric.is_proportion
            else _("difference %(value)s")
        )
        effect, interval = text % {"value": one.difference}, one.difference_interval
    return _("%(metric)s: %(control)s → %(value)s, %(effect)s, %(interval)s.") % {
        "metric": metric.name,
        "control": one.control,
        "value": one.value,
        "effect": effect,
        "interval": interval,
    }


def _metric(metric: MetricReport, number: int, settings: SettingsReport) -> MetricFigures:
    is_guardrail = metric.role is Role.GUARDRAIL
    newest = [one.newest for one in metric.treatments if one.newest]
    # What is tolerated is a difference, so guardrails are drawn as differences.
    is_relative = (
        not is_guardrail and bool(newest) and all(one.relative_difference for one in newest)
    )
    effect = Effect(metric, is_relative=is_relative)
    treatments = [
        _treatment(one, metric, settings, effect, f"flagstaff-looks-{number}-{place}")
        for place, one in enumerate(metric.treatments)
    ]
    return MetricFigures(
        name=metric.metric,
        role=str(_ROLES[metric.role]),
        facts=[] if metric.error else facts(metric),
        is_primary=metric.role is Role.PRIMARY,
        is_guardrail=is_guardrail,
        is_proportion=metric.is_proportion,
        treatments=treatments,
        effect=effect.name,
        is_thinned=any(len(one.looks.hours) < one.looks.count for one in metric.treatments),
        error=localized(metric.error or ""),
    )


def _treatment(
    result: TreatmentReport,
    metric: MetricReport,
    settings: SettingsReport,
    effect: Effect,
    name: str,
) -> TreatmentFigures:
    newest = result.newest
    if newest is None:
        return TreatmentFigures(result.treatment, _("no result yet"), "open")
    text, css = verdict(result, metric)
    write = percent_text if metric.is_proportion else number_text
    write_difference = points_text if metric.is_proportion else number_text
    level = level_text(result.interval_alpha)
    needs = interval_needs(newest.missing_for_interval, settings.method, count_text)
    lift, looks = newest.relative_difference, shown_looks(result, settings)
    effects = {look.at: _drawn(result, metric, effect, look) for look in looks}
    known = [(at, one) for at, one in effects.items() if one]
    found = TreatmentFigures(
        treatment=result.treatment,
        result=text,
        css=css,
        control=write(newest.control),
        value=write(newest.treatment),
        difference=signed(newest.difference.value, write_difference),
        difference_interval=interval_sentence(newest.difference, level, write_difference, needs),
        lift=NONE if lift is None else signed(lift.value, percent_text),
        lift_interval="" if lift is None else interval_sentence(lift, level, percent_text),
        p_value=p_text(result.corrected_p_value),
        level=level,
        change=_change(result, metric, effect, newest),
        chart=looks_chart(name, result.treatment, known, effect.write),
        looks=[_look(look, effects[look.at], effect, write) for look in reversed(looks)],
    )
    if result.tolerated_harm is None:
        return found
    bound = result.harm_bound
    is_worse = bound is not None and bound > 0
    if newest.difference.has_interval:
        # It has two levels: one side is the bound that decides.
        drawn = guardrail_interval(result, metric, newest.difference)
        found = replace(found, difference_interval=interval_text(drawn, write_difference))
    return replace(
        found,
        bound=write_difference(bound) if bound and is_worse else _("no harm is certain"),
        tolerated=write_difference(result.tolerated_harm),
    )


def _change(
    result: TreatmentReport, metric: MetricReport, effect: Effect, look: LookReport
) -> Change | None:
    """Returns what is drawn; None where the value of the control is near 0."""
    if result.tolerated_harm is None:
        found = look.relative_difference if effect.is_relative else None
        return None if found is None else Change(found.value, found.low, found.high)
    # What is tolerated is a difference, which is no size of a change beside a control near 0.
    if look.control <= 0 or result.tolerated_harm > look.control:
        return None
    found = guardrail_interval(result, metric, look.difference).scaled(look.control)
    limit = result.tolerated_harm / look.control
    return Change(found.value, found.low, found.high, -limit if metric.higher_is_better else limit)


def _drawn(
    result: TreatmentReport, metric: MetricReport, effect: Effect, look: LookReport
) -> EffectReport | None:
    """Returns the effect of a look. That of the newest one has the bound of the guardrail."""
    found = effect.of(look)
    is_newest = result.newest is not None and look.at == result.newest.at
    return guardrail_interval(result, metric, found) if found and is_newest else found


def _look(
    look: LookReport, found: EffectReport | None, effect: Effect, write: Callable[[float], str]
) -> tuple[str, ...]:
    return (
        hour_text(look.at),
        count_text(look.units),
        write(look.control),
        write(look.treatment),
        NONE if found is None else signed(found.value, effect.write),
        NONE if found is None else interval_text(found, effect.write),
    )
