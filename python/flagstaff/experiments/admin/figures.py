"""The metrics of a report, as the page shows them: a chart and a table of the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._words.message import from_json, localized
from flagstaff.admin.svg import chart, circle, line, text
from flagstaff.experiments.admin.charts import looks_chart
from flagstaff.experiments.admin.texts import (
    NONE,
    Effect,
    count_text,
    facts,
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
from flagstaff.experiments.reporting import Role
from flagstaff.experiments.words import interval_needs

_ROLES: dict[str, str | Promise] = {
    Role.PRIMARY: gettext_lazy("primary metric"),
    Role.OTHER: gettext_lazy("other metric"),
    Role.GUARDRAIL: gettext_lazy("guardrail"),
}

# A chart on a phone has no room for a longer name.
_MAX_NAME = 32


@dataclass(frozen=True)
class TreatmentFigures:
    """The newest look at one treatment, in words."""

    treatment: str
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
    chart: SafeString | str = ""
    #: Time, units, control, treatment, effect, interval.
    looks: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class MetricFigures:
    """A metric: what it is, the chart of its intervals, and a row for each treatment."""

    name: str
    role: str
    facts: list[str]
    is_primary: bool
    is_guardrail: bool
    is_proportion: bool
    chart: SafeString | str
    treatments: list[TreatmentFigures]
    #: The name of the effect that the charts draw.
    effect: str
    #: Whether the report has only some of the looks.
    is_thinned: bool
    #: Why there is no result, if the metric fails.
    error: str = ""


def metric_figures(report: Mapping[str, Any]) -> list[MetricFigures]:
    """Returns all metrics; none if the shares are wrong, because then no figure is valid."""
    if report["has_mismatch"]:
        return []
    settings = report["settings"]
    return [_metric(one, number, settings) for number, one in enumerate(report["metrics"])]


def _failing(metric: Mapping[str, Any], error: str) -> MetricFigures:
    return MetricFigures(
        name=metric["metric"],
        role=str(_ROLES[metric["role"]]),
        facts=[],
        is_primary=metric["role"] == Role.PRIMARY,
        is_guardrail=metric["role"] == Role.GUARDRAIL,
        is_proportion=False,
        chart="",
        treatments=[],
        effect="",
        is_thinned=False,
        error=error,
    )


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


def _metric(metric: Mapping[str, Any], number: int, settings: Mapping[str, Any]) -> MetricFigures:
    is_guardrail = metric["role"] == Role.GUARDRAIL
    if error := metric.get("error"):
        return _failing(metric, localized(from_json(error)))
    # What is tolerated is a difference, so guardrails are drawn as differences.
    newest = [one["newest"] for one in metric["treatments"] if one["newest"]]
    has_lift = not is_guardrail and bool(newest) and all(one["lift"] for one in newest)
    effect = Effect(metric, is_lift=has_lift)
    treatments = [
        _treatment(_with_looks(one, settings), metric, effect, f"{number}-{place}")
        for place, one in enumerate(metric["treatments"])
    ]
    return MetricFigures(
        name=metric["metric"],
        role=str(_ROLES[metric["role"]]),
        facts=facts(metric),
        is_primary=metric["role"] == Role.PRIMARY,
        is_guardrail=is_guardrail,
        is_proportion=metric["is_proportion"],
        chart=_chart(metric, effect, treatments, number),
        treatments=treatments,
        effect=effect.name,
        is_thinned=any(
            len(one["looks"]["hours"]) < one["looks"]["count"] for one in metric["treatments"]
        ),
    )


def _with_looks(result: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result with the looks that are shown, and what an interval still needs."""
    newest = result["newest"]
    missing = newest["missing_for_interval"] if newest else []
    return {
        **result,
        "looks": shown_looks(result, settings),
        "needs": interval_needs(missing, settings["method"], count_text),
    }


def _treatment(
    result: Mapping[str, Any], metric: Mapping[str, Any], effect: Effect, name: str
) -> TreatmentFigures:
    newest = result["newest"]
    text, css = verdict(result, metric)
    if newest is None:
        return TreatmentFigures(result["treatment"], _("no result yet"), "open")
    write = percent_text if metric["is_proportion"] else number_text
    write_difference = points_text if metric["is_proportion"] else number_text
    level = level_text(result["interval_alpha"])
    found: dict[str, Any] = {
        "treatment": result["treatment"],
        "result": text,
        "css": css,
        "control": write(newest["control"]),
        "value": write(newest["treatment"]),
        "level": level,
        "p_value": p_text(result["corrected_p_value"]),
        **_effect_texts("difference", newest, level, write_difference, result["needs"]),
        **_effect_texts("lift", newest, level, percent_text),
        "chart": looks_chart(f"flagstaff-looks-{name}", result, effect.key, effect.write),
        "looks": _looks(result["looks"], effect, write),
    }
    if metric["role"] == Role.GUARDRAIL:
        bound = result["harm_bound"]
        is_worse = bound is not None and bound > 0
        found["bound"] = write_difference(bound) if is_worse else _("no harm is certain")
        found["tolerated"] = write_difference(result["tolerated_harm"])
    return TreatmentFigures(**found)


def _effect_texts(
    name: str,
    look: Mapping[str, Any],
    level: str,
    write: Callable[[float], str],
    needs: str = "",
) -> dict[str, str]:
    found = look[name]
    if found is None:
        return {}
    return {
        name: signed(found["value"], write),
        f"{name}_interval": interval_sentence(found, level, write, needs),
    }


def _chart(
    metric: Mapping[str, Any], effect: Effect, treatments: Sequence[TreatmentFigures], number: int
) -> SafeString | str:
    rows = []
    for result, figures in zip(metric["treatments"], treatments, strict=True):
        if result["newest"] is None:
            continue
        found = result["newest"][effect.key]
        label = _("%(treatment)s: %(value)s") % {
            "treatment": Truncator(result["treatment"]).chars(_MAX_NAME),
            "value": signed(found["value"], effect.write),
        }
        interval = interval_sentence(found, figures.level, effect.write)
        limit = None
        if metric["role"] == Role.GUARDRAIL:
            tolerated = result["tolerated_harm"]
            limit = -tolerated if metric["higher_is_better"] else tolerated
        rows.append(
            ChartRow(
                label, interval, figures.css, found["value"], found["low"], found["high"], limit
            )
        )
    title = _("%(metric)s: %(effect)s") % {"metric": metric["metric"], "effect": effect.name}
    return intervals_chart(f"flagstaff-metric-{number}", title, rows, effect.write)


def _looks(
    looks: Sequence[Mapping[str, Any]], effect: Effect, write: Callable[[float], str]
) -> list[tuple[str, ...]]:
    """Returns the looks that the chart draws, the newest one first."""
    rows: list[tuple[str, ...]] = []
    for look in reversed(looks):
        found = look[effect.key]
        rows.append(
            (
                hour_text(look["at"]),
                count_text(look["units"]),
                write(look["control"]),
                write(look["treatment"]),
                NONE if found is None else signed(found["value"], effect.write),
                NONE if found is None else interval_text(found, effect.write),
            )
        )
    return rows


# The chart of intervals: one line for each treatment, and where zero is.

_ROW, _FIRST, _SECOND, _GAP = 62, 14, 16, 32
_RADIUS, _TICK, _FOOT = 5, 11, 20
_ALL, _HALF = 100, 2
# The space at both edges, as a share of what is drawn.
_MARGIN = 0.08
# Near an edge a label stays inside the box.
_EDGE = 10


@dataclass(frozen=True)
class ChartRow:
    """The effect of one treatment. A bound is None if it is not known."""

    label: str
    interval: str
    #: "fine", "bad" or "open".
    css: str
    value: float
    low: float | None
    high: float | None
    #: What a guardrail tolerates.
    limit: float | None = None


def intervals_chart(
    name: str, title: str, rows: Sequence[ChartRow], write: Callable[[float], str]
) -> SafeString | str:
    """Returns the chart; an empty text without rows."""
    if not rows:
        return ""
    scale = _Scale(rows)
    bottom = len(rows) * _ROW
    zero = scale.at(0.0)
    parts = [text("quiet", zero, bottom + _FOOT - _RADIUS, "0", _anchor(zero))]
    limits = {row.limit for row in rows if row.limit}
    for limit in limits:
        x = scale.at(limit)
        label = _("tolerated: %(limit)s") % {"limit": signed(limit, write)}
        # On the side where zero is not.
        anchor = "end" if limit < 0 and x > _ALL / 4 else "start"
        parts.append(text("quiet", x, bottom + _FOOT - _RADIUS, label, anchor))
    for number, row in enumerate(rows):
        parts += _row(row, scale, _FIRST + number * _ROW)
    desc = "; ".join(f"{row.label}, {row.interval}" for row in rows)
    return chart(name, bottom + _FOOT, title, desc, parts)


class _Scale:
    """From numbers to percent of the width. Zero is always inside."""

    def __init__(self, rows: Sequence[ChartRow]) -> None:
        numbers = [0.0]
        for row in rows:
            numbers += [one for one in (row.value, row.low, row.high, row.limit) if one is not None]
        low, high = min(numbers), max(numbers)
        width = (high - low) or 1.0
        self._low = low - _MARGIN * width
        self._width = width * (1 + 2 * _MARGIN)

    def at(self, number: float) -> float:
        return (number - self._low) / self._width * _ALL


def _row(row: ChartRow, scale: _Scale, y: float) -> list[SafeString]:
    axis = y + _GAP
    low = 0.0 if row.low is None else scale.at(row.low)
    high = float(_ALL) if row.high is None else scale.at(row.high)
    # Without an interval, the faint line says that everything is possible.
    range_css = f"range flagstaff-{row.css}" if (row.low, row.high) != (None, None) else "axis"
    ticks = [_tick("zero", scale.at(0.0), axis)]
    if row.limit:
        ticks.append(_tick("limit", scale.at(row.limit), axis))
    return [
        *ticks,
        text("label", 0, y, row.label),
        text("quiet", 0, y + _SECOND, row.interval),
        line(range_css, (low, axis), (high, axis)),
        circle(f"ratio flagstaff-{row.css}", scale.at(row.value), axis, _RADIUS),
    ]


def _tick(css: str, x: float, axis: float) -> SafeString:
    return line(css, (x, axis - _TICK), (x, axis + _TICK))


def _anchor(x: float) -> str:
    return "start" if x < _EDGE else "end" if x > _ALL - _EDGE else "middle"
