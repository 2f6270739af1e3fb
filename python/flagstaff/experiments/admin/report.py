"""The report on the page of an experiment: the verdict, all metrics on one axis, and the counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flagstaff._text import localized, say
from flagstaff._text.times import local_time_text
from flagstaff.admin.parts import Section
from flagstaff.admin.words import Column, Table, badge, colour_of, two_lines
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.report_data import PRIMARY, MetricReport, Report
from flagstaff.experiments.report_rows import (
    NONE,
    MetricRow,
    before_texts,
    correction_text,
    count_text,
    expected_units,
    facts,
    harms_of_better,
    number_text,
    p_sentence,
    percent_number_text,
    role_texts,
    shares_text,
    signed,
    unit_rows,
    verdict_notes,
    verdict_text,
)
from flagstaff.experiments.reporting import scaled
from flagstaff.experiments.verdict import SHARES_ARE_WRONG, Outcome

# A trend is no result, so its figures are no headline.
_RESULTS = {"better", "worse", "no_difference"}
_STATES = {"fine": "better", "bad": "worse", "open": "undecided"}


# The head.


def verdict_lines(report: Report) -> Iterator[SafeString]:
    """Yields the verdict on each treatment with the figures of the primary metric."""
    primary = next((metric for metric in report["metrics"] if metric["role"] == PRIMARY), None)
    for verdict in report["verdicts"]:
        treatment, outcome = verdict["treatment"], verdict["outcome"]
        figures = ""
        if outcome in _RESULTS and primary is not None:
            results = {result["treatment"]: result for result in primary["treatments"]}
            figures = _sentence(MetricRow(primary, results[treatment]))
        state = Outcome.UNDECIDED.value if harms_of_better(report, verdict) else outcome
        label = badge(state, verdict_text(report, verdict))
        yield format_html("{} {} {}", treatment, label, figures)
        yield from (format_html("{}", text) for text in verdict_notes(report, verdict))


def state_sentence(experiment: Experiment) -> str:
    """Returns the state as one sentence."""
    texts = {
        State.DRAFT: say(
            "Not started: every call gets its default, and no unit is recorded."
        ).local,
        State.RUNNING: say("Started {started}."),
        State.STOPPED: say("Stopped {ended}: every call gets its default."),
        State.SHIPPED: say("Shipped {ended}: everyone gets “{winner}”."),
    }
    times = (experiment.started_at, experiment.ended_at)
    started, ended = (local_time_text(at) if at else NONE for at in times)
    names = {"started": started, "ended": ended, "winner": experiment.winner}
    return say(texts[State(experiment.state)], **names).local


def mismatch_notice(report: Report) -> SafeString:
    """Returns what is wrong with the shares, and what to look for."""
    text = say("{variant}: {seen} units, {expected} expected")
    seen = (
        say(text, variant=key, seen=count_text(met), expected=count_text(expected)).local
        for key, met, expected in expected_units(report)
    )
    repair = ""
    if report["state"] in (State.RUNNING, State.STOPPED) and not report["frozen_at"]:
        repair = say(
            "Repair the cause, then restart the experiment: the units so far stay wrong."
        ).local
    return format_html(
        "{} {}. {} {} {}",
        say(
            "The shares of the variants are wrong (sample-ratio mismatch): {p}.",
            p=p_sentence(report["exposures"]["mismatch_p_value"]),
        ).local,
        "; ".join(seen),
        say(SHARES_ARE_WRONG).local,
        say("No figure of a metric is shown, because none would be valid.").local,
        repair,
    )


# The metrics.


def _change(row: MetricRow) -> Change | None:
    """Returns what is drawn; None where the value of the control is near 0."""
    if row.newest is None or row.difference is None:
        return None
    tolerated, control = row.result["tolerated_harm"], row.newest["control"]
    if tolerated is None:
        lift = row.newest["relative_difference"]
        return Change(lift["value"], lift["low"], lift["high"]) if lift else None
    # What is tolerated is a difference, which is no size of a change beside a control near 0.
    if control <= 0 or tolerated > control:
        return None
    relative = scaled(row.difference, control)
    limit = tolerated / control * (-1 if row.metric["higher_is_better"] else 1)
    return Change(relative["value"], relative["low"], relative["high"], limit)


def _sentence(row: MetricRow) -> str:
    """Returns the newest figures of the primary metric."""
    if row.newest is None:
        return ""
    return say(
        "{metric}: {control} → {value}, {effect}.",
        metric=row.metric["metric"],
        control=row.control,
        value=row.treatment,
        effect=row.effect,
    ).local


def metrics(report: Report) -> Section:
    """Returns one table of all metrics, with a shared axis; no figure if the shares are wrong."""
    title, actions = say("Metrics").local, ("add-metric",)
    if report["has_mismatch"]:
        return Section(title, "")
    if not report["metrics"]:
        return Section(title, say("There is no metric, so there is no verdict.").local, actions)
    metrics_with_rows = [
        (metric, [MetricRow(metric, result) for result in metric["treatments"]])
        for metric in report["metrics"]
    ]
    changes = (_change(row) for _metric, rows in metrics_with_rows for row in rows)
    axis = Axis(change for change in changes if change)
    control, *treatments = (variant["key"] for variant in report["settings"]["variants"])
    is_one = len(treatments) == 1
    scale: str = format_html(
        '<span class="visually-hidden">{}</span>{}', say("Difference").local, axis.labels()
    )
    table = Table(
        [
            Column(say("Metric").local),
            Column(control, is_number=True),
            Column(treatments[0] if is_one else say("Treatment").local, is_number=True),
            Column(scale),
            Column(say("p value").local, is_number=True),
            Column(say("Result").local),
        ],
        [
            cells
            for metric, rows in metrics_with_rows
            for cells in _cells(metric, rows, axis, is_one=is_one)
        ],
        note=" ".join(
            filter(
                None,
                [
                    say(
                        "Drawn is the change in relation to the control. The verdict follows from "
                        "the interval that is drawn."
                    ).local,
                    say(
                        "The p value says how likely chance alone gives such a change. Below "
                        "{alpha}, the result is called significant.",
                        alpha=number_text(report["settings"]["alpha"]),
                    ).local,
                    correction_text(report),
                ],
            )
        ),
        is_stacked=True,
    )
    return Section(title, table.html(title), actions)


def before(report: Report) -> Section:
    """Returns the figures from before a change of what the rules need; no HTML without one."""
    title = say("Metrics before the change").local
    metrics = [(metric["metric"], before_texts(metric)) for metric in report["metrics"]]
    changed = [(name, *texts) for name, texts in metrics if texts is not None]
    if not changed:
        return Section(title, "")
    variants = (variant["key"] for variant in report["settings"]["variants"])
    columns = [Column(say("Metric").local), *(Column(key, is_number=True) for key in variants)]
    note = say(
        "The full time of these units was over when a flag or a segment that the rules need was "
        "changed, on {time}. They are in no result, and no test is made of them: of two parts, one "
        "would choose the better one.",
        time=changed[0][1],
    ).local
    rows = [(name, *figures.values()) for name, _time, figures in changed]
    return Section(title, Table(columns, rows, note=note).html(title))


def _cells(
    metric: MetricReport, rows: Sequence[MetricRow], axis: Axis, *, is_one: bool
) -> Iterator[tuple[str, ...]]:
    roles = role_texts(metric)
    if metric["error"]:
        error = two_lines(badge("no verdict", say("fails").local), str(localized(metric["error"])))
        yield (two_lines(metric["metric"], *roles), NONE, NONE, "", NONE, error)
    for row in rows:
        treatment = "" if is_one else row.result["treatment"]
        name = two_lines(metric["metric"], treatment, *roles, " · ".join(facts(metric)))
        colour, text, note = row.verdict
        change = _change(row)
        state = _STATES[colour]
        drawing = axis.drawing(change, colour_of(state), row.effect) if change else ""
        effect = format_html("<div>{}<small>{}</small></div>", drawing, row.effect)
        yield (
            name,
            row.control,
            row.treatment,
            effect if row.newest else "",
            row.p_value,
            two_lines(badge(state, text), note),
        )


def conclusions(report: Report) -> Section:
    """Returns what may and what may not be concluded."""
    parts = SafeString()
    for verdict in report["verdicts"]:
        harms = harms_of_better(report, verdict)
        may, may_not = (
            format_html_join("", "<li>{}</li>", ([text] for text in map(say, texts)))
            for texts in (verdict["may_conclude"], [*harms, *verdict["may_not_conclude"]])
        )
        if len(report["verdicts"]) > 1 and (may or may_not):
            parts += format_html("<h3>{}</h3>", verdict["treatment"])
        if may:
            parts += format_html("<ul>{}</ul>", may)
        if may_not:
            parts += format_html("<p>{}</p><ul>{}</ul>", say("Keep in mind:").local, may_not)
    return Section(say("What this means").local, parts)


def units(report: Report) -> Section:
    """Returns the units of each variant beside their planned shares."""
    title, rows = say("Units").local, unit_rows(report)
    columns = [Column(name, is_number=place > 0) for place, name in enumerate(rows[0])]
    cells = [[*row.values()] for row in rows]
    terms = say(
        "During a run, a unit (here: {unit}) always gets the same variant. Its exposure is the "
        "first time that it does.",
        unit=report["settings"]["bucket_by"],
    ).local
    note = f"{shares_text(report)} {terms}"
    html = Table(columns, cells, note=note, is_stacked=True).html(title)
    return Section(title, html, ("grow", "restart"))


# The drawing: intervals on one axis for all metrics.

# The box of an interval, and the radius of its point.
_WIDTH, _HEIGHT, _RADIUS = 200, 24, 5
_MIDDLE = _HEIGHT // 2
# The space at both edges, as a share of what is drawn.
_MARGIN = 0.08
# An interval that is wider than this multiple of all other numbers is cut off at the edge.
_WIDEST = 3.0
_MAX_TICKS = 4


@dataclass(frozen=True)
class Change:
    """The effect on a metric in relation to the value of the control. A bound may be unknown."""

    value: float
    low: float | None
    high: float | None
    #: What a guardrail tolerates.
    limit: float | None = None

    @property
    def bounds(self) -> list[float]:
        """The known bounds."""
        return [bound for bound in (self.low, self.high) if bound is not None]


class Axis:
    """From relative changes to the width of a drawing. Zero and all values are inside."""

    def __init__(self, changes: Iterable[Change]) -> None:
        drawn = list(changes)
        inside = [0.0, *(change.value for change in drawn)]
        inside += [change.limit for change in drawn if change.limit is not None]
        bounds = [bound for change in drawn for bound in change.bounds]
        most = _WIDEST * max(map(abs, inside)) or max(map(abs, bounds), default=1.0)
        inside += [bound for bound in bounds if abs(bound) <= most]
        low, high = min(inside), max(inside)
        margin = _MARGIN * ((high - low) or 1.0)
        self._low, self._high = low - margin, high + margin

    def at(self, number: float) -> float:
        """Returns the place of a number; the edge for one that is outside."""
        place = (number - self._low) / (self._high - self._low) * _WIDTH
        return round(min(max(place, 0.0), float(_WIDTH)), 1)

    def ticks(self) -> list[float]:
        """Returns a few round numbers on the axis, with 0."""
        step = _round_up((self._high - self._low) / _MAX_TICKS)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [number * step for number in range(first, last + 1)]

    def labels(self) -> SafeString:
        """Returns the numbers of the ticks, for the head of the column."""
        texts = SafeString()
        for tick in self.ticks():
            label = signed(tick, percent_number_text) if tick else "0"
            text = '<text x="{}" y="{}" text-anchor="middle">{}</text>'
            texts += format_html(text, self.at(tick), _MIDDLE + _RADIUS, label)
        return _box(say("Scale of the change").local, texts)

    def drawing(self, change: Change, css: str, label: str) -> SafeString:
        """Returns the interval of a change and its value, with the label for screen readers.

        `css` is the class of the colour.
        """
        low = 0.0 if change.low is None else self.at(change.low)
        high = float(_WIDTH) if change.high is None else self.at(change.high)
        colour = {"class": f"flagstaff-{css}"}
        # Without an interval, the faint line says that everything is possible.
        interval = colour | {"stroke-width": "4"} if change.bounds else {"stroke-opacity": "0.35"}
        marks = [
            ({"stroke-opacity": "0.12"}, "".join(map(self._mark, self.ticks()))),
            ({"stroke-opacity": "0.6"}, self._mark(0.0)),
        ]
        if change.limit is not None:
            dashes = {"stroke-width": "2", "stroke-dasharray": "3 3"}
            marks.append((dashes, self._mark(change.limit)))
        marks.append((interval, f"M{low} {_MIDDLE}H{high}"))
        paths = SafeString()
        for attributes, path in marks:
            stroke = flatatt(attributes)
            paths += format_html('<path stroke="currentColor"{} d="{}"></path>', stroke, path)
        point = '<circle{} cx="{}" cy="{}" r="{}"></circle>'
        value = format_html(point, flatatt(colour), self.at(change.value), _MIDDLE, _RADIUS)
        return _box(label, paths + value)

    def _mark(self, number: float) -> str:
        return f"M{self.at(number)} 0V{_HEIGHT}"


def _box(label: str, content: SafeString) -> SafeString:
    return format_html(
        '<svg class="flagstaff-interval" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
        'fill="currentColor" role="img" aria-label="{2}">{3}</svg>',
        _WIDTH,
        _HEIGHT,
        label,
        content,
    )


def _round_up(number: float) -> float:
    """Returns the next larger one of 1, 2 and 5, times a power of ten."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= number)
