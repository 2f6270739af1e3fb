"""The report on the page of an experiment: the verdict, all metrics on one axis, and the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._engine.forced_off import VARIABLE
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import duration, local_time_text
from flagstaff.admin.cells import two_lines
from flagstaff.admin.row_page import Section
from flagstaff.admin.table import Column, Table
from flagstaff.admin.words import badge
from flagstaff.experiments.admin.drawings import Axis, Change, Course, Point
from flagstaff.experiments.admin.texts import (
    NONE,
    count_text,
    hour_text,
    interval_text,
    level_text,
    number_text,
    p_sentence,
    p_text,
    percent_text,
    points_text,
    signed,
    time_of,
)
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.report_data import (
    GUARDRAIL,
    OTHER,
    PRIMARY,
    EffectReport,
    ExposureReport,
    LookReport,
    MetricReport,
    Report,
    TreatmentReport,
    has_interval,
)
from flagstaff.experiments.statistics import Statement
from flagstaff.experiments.words import (
    STATEMENTS,
    interval_needs,
    missing_text,
    outcome_text,
    statement_texts,
    wider_intervals_text,
)

_Write: TypeAlias = Callable[[float], str]

_ROLES: Mapping[str, str | Promise] = {
    PRIMARY: gettext_lazy("primary metric"),
    OTHER: gettext_lazy("other metric"),
    GUARDRAIL: gettext_lazy("guardrail"),
}
# A trend is no result, so its figures are no headline.
_RESULTS = {"better", "worse", "no_difference"}
_COLOURS = {"fine": "better", "bad": "worse", "open": "undecided"}


# The head.


def verdict_lines(report: Report) -> Iterator[SafeString]:
    """Yields the verdict on each treatment with the figures of the primary metric."""
    primary = next((one for one in report["metrics"] if one["role"] == PRIMARY), None)
    for verdict in report["verdicts"]:
        treatment, outcome = verdict["treatment"], verdict["outcome"]
        figures = ""
        if outcome in _RESULTS and primary is not None:
            results = {one["treatment"]: one for one in primary["treatments"]}
            figures = _sentence(MetricRow(primary, results[treatment]))
        yield format_html("{} {} {}", treatment, outcome_label(outcome), figures)
        if harmed := verdict["harmed"]:
            yield format_html("{}", _("Harmed: %(harmed)s") % {"harmed": ", ".join(harmed)})
        if missing := missing_text(verdict, local_number):
            yield format_html("{}", missing)


def outcome_label(outcome: str) -> SafeString:
    """Returns the outcome of a verdict as a coloured label."""
    return badge(outcome, outcome_text(outcome))


def state_sentence(experiment: Experiment) -> str:
    """Returns the state as one sentence."""
    texts = {
        State.DRAFT: _("Not started: every call gets its default, and no exposure is recorded."),
        State.RUNNING: _("Started %(started)s."),
        State.STOPPED: _("Stopped %(ended)s: every call gets its default."),
        State.SHIPPED: _("Shipped %(ended)s: everyone gets “%(winner)s”."),
    }
    times = (experiment.started_at, experiment.ended_at)
    started, ended = (local_time_text(at) if at else NONE for at in times)
    names = {"started": started, "ended": ended, "winner": experiment.winner}
    return texts[State(experiment.state)] % names


def mismatch_notice(report: Report) -> SafeString:
    """Returns what is wrong with the shares, and what to look for."""
    text = _("%(variant)s: %(seen)s units, %(expected)s expected")
    seen = (
        text % {"variant": key, "seen": count_text(met), "expected": count_text(expected)}
        for key, met, expected in _expected(report)
    )
    repair = ""
    if report["state"] in (State.RUNNING, State.STOPPED) and not report["frozen_at"]:
        repair = _("Repair the cause, then restart the experiment: the units so far stay wrong.")
    return format_html(
        "{} {}. {} {} {}",
        _("The shares of the variants are wrong (sample-ratio mismatch): %(p)s.")
        % {"p": p_sentence(report["exposures"]["mismatch_p_value"])},
        "; ".join(seen),
        STATEMENTS[Statement.SHARES_ARE_WRONG],
        _("No figure of a metric is shown, because none would be valid."),
        repair,
    )


def notes(report: Report) -> Iterator[str]:
    """Yields what is missing or left out in the report, as sentences."""
    counts = report["exposures"]
    if report["forced_off"]:
        text = _("Forced off in this process by %(variable)s: every call returns its default.")
        yield text % {"variable": VARIABLE}
    texts = (
        (
            counts["lost"],
            partial(
                ngettext,
                "%(count)s exposure was lost, because too many waited in a worker. The units may "
                "be recorded later.",
                "%(count)s exposures were lost, because too many waited in a worker. The units may "
                "be recorded later.",
            ),
        ),
        (
            counts["left_out"],
            partial(
                ngettext,
                "%(count)s new visitor was left out, because a worker reached "
                "NEW_VISITORS_PER_HOUR.",
                "%(count)s new visitors were left out, because a worker reached "
                "NEW_VISITORS_PER_HOUR.",
            ),
        ),
        (
            counts["workers_without_last_report"],
            partial(
                ngettext,
                "%(count)s worker ended without its last report: the exposures of its last "
                "interval may be missing.",
                "%(count)s workers ended without their last reports: the exposures of their last "
                "intervals may be missing.",
            ),
        ),
        (
            counts["met_two_variants"],
            partial(
                ngettext,
                "%(count)s unit met two variants. It is left out of all figures.",
                "%(count)s units met two variants. They are left out of all figures.",
            ),
        ),
    )
    yield from (text(count) % {"count": local_number(count)} for count, text in texts if count)
    if report["frozen_at"]:
        text = _("This report was kept as it was on %(time)s.")
        yield text % {"time": local_time_text(time_of(report["frozen_at"]))}


# The metrics.


class MetricRow:
    """A line of the table of metrics: one treatment of one metric at its newest look."""

    def __init__(self, metric: MetricReport, result: TreatmentReport) -> None:
        self.metric, self.result = metric, result
        self.newest = result["newest"]
        self.is_guardrail = metric["role"] == GUARDRAIL
        self.write: _Write = percent_text if metric["is_proportion"] else number_text
        self.write_difference: _Write = points_text if metric["is_proportion"] else number_text
        self.level = level_text(result["interval_alpha"])

    @property
    def difference(self) -> EffectReport | None:
        """The difference; the interval of a guardrail's begins at the bound that decides."""
        found = None if self.newest is None else self.newest["difference"]
        bound = self.result["harm_bound"] if self.is_guardrail else None
        if found is None or bound is None or found["low"] is None or found["high"] is None:
            return found
        if self.metric["higher_is_better"]:
            return {**found, "high": -bound} if -bound >= found["low"] else found
        return {**found, "low": bound} if bound <= found["high"] else found

    @property
    def effect(self) -> str:
        """The change in words: the lift if there is one, and that of a guardrail in its unit."""
        if self.newest is None or self.difference is None:
            return NONE
        lift = self.newest["relative_difference"]
        if lift and not self.is_guardrail:
            return self._with_interval(signed(lift["value"], percent_text), lift, percent_text)
        shown = signed(self.difference["value"], self.write_difference)
        if self.metric["is_proportion"]:
            shown = _("%(number)s points") % {"number": shown}
        text = self._with_interval(shown, self.difference, self.write_difference)
        if (tolerated := self.result["tolerated_harm"]) is not None:
            limit = self.write_difference(tolerated)
            text = _("%(effect)s; tolerated: %(limit)s") % {"effect": text, "limit": limit}
        return text

    def _with_interval(self, shown: str, effect: EffectReport, write: _Write) -> str:
        if has_interval(effect):
            values = {"level": self.level, "interval": interval_text(effect, write)}
            text = _("%(level)s interval: %(interval)s") % values
        else:
            missing = self.newest["missing_for_interval"] if self.newest else ()
            text = interval_needs(missing, count_text)
        return f"{shown} · {text}"

    @property
    def change(self) -> Change | None:
        """What is drawn; None where the value of the control is near 0."""
        if self.newest is None or self.difference is None:
            return None
        tolerated, control = self.result["tolerated_harm"], self.newest["control"]
        if tolerated is None:
            lift = self.newest["relative_difference"]
            return Change(lift["value"], lift["low"], lift["high"]) if lift else None
        # What is tolerated is a difference, which is no size of a change beside a control near 0.
        if control <= 0 or tolerated > control:
            return None
        low, high = (
            bound if bound is None else bound / control
            for bound in (self.difference["low"], self.difference["high"])
        )
        limit = tolerated / control * (-1 if self.metric["higher_is_better"] else 1)
        return Change(self.difference["value"] / control, low, high, limit)

    @property
    def verdict(self) -> tuple[str, str, str]:
        """The colour of the interval, the result in words, and what else to know.

        The colour says what the interval shows. Where an earlier look has decided, the words say
        so.
        """
        found, decided = self.difference, self.result["decided_difference"]
        if found is None:
            return "open", _("no result yet"), ""
        if self.is_guardrail:
            return self._guardrail_verdict(found)
        if not self.result["is_significant"] or decided is None:
            note = (
                ""
                if _contains_zero(found)
                else _("the test and the interval differ near the limit")
            )
            return "open", _("not significant"), note
        is_better = (decided > 0) == self.metric["higher_is_better"]
        text = _("better, significant") if is_better else _("worse, significant")
        if _contains_zero(found) or (found["value"] > 0) != (decided > 0):
            at = self.result["decided_at"]
            time = hour_text(time_of(at)) if at else NONE
            note = _("at the look of %(time)s; the newest look differs") % {"time": time}
            return "open", text, note
        return "fine" if is_better else "bad", text, ""

    def _guardrail_verdict(self, found: EffectReport) -> tuple[str, str, str]:
        sign = -1 if self.metric["higher_is_better"] else 1
        least, most = (found["low"], found["high"]) if sign > 0 else (found["high"], found["low"])
        tolerated = self.result["tolerated_harm"] or 0.0
        if self.result["is_harmed"]:
            is_now = least is not None and sign * least > tolerated
            text = _("worse by more than is tolerated")
            return ("bad", text, "") if is_now else ("open", text, _("at an earlier look"))
        if most is not None and sign * most <= tolerated:
            return "fine", _("within what is tolerated"), ""
        if most is None:
            return "open", _("not certain"), _("more harm than tolerated is possible")
        bound = signed(most, self.write_difference)
        return "open", _("not certain"), _("harm up to %(bound)s is possible") % {"bound": bound}


def _contains_zero(effect: EffectReport) -> bool:
    """Whether no effect is possible."""
    low, high = effect["low"], effect["high"]
    return (low is None or low <= 0) and (high is None or high >= 0)


def possible_harms(report: Report) -> list[str]:
    """Returns the guardrails whose harm beyond what is tolerated is neither shown nor excluded."""
    return [
        metric["metric"]
        for metric in report["metrics"]
        if metric["role"] == GUARDRAIL
        and any(
            not one["is_harmed"] and MetricRow(metric, one).verdict[0] == "open"
            for one in metric["treatments"]
        )
    ]


def _sentence(row: MetricRow) -> str:
    """Returns the newest figures of the primary metric."""
    if row.newest is None:
        return ""
    return _("%(metric)s: %(control)s → %(value)s, %(effect)s.") % {
        "metric": row.metric["metric"],
        "control": row.write(row.newest["control"]),
        "value": row.write(row.newest["treatment"]),
        "effect": row.effect,
    }


def metrics(report: Report) -> Section:
    """Returns one table of all metrics, with a shared axis; no figure if the shares are wrong."""
    title, actions = _("Metrics"), ("add-metric",)
    if report["has_mismatch"]:
        return Section(title, "")
    if not report["metrics"]:
        return Section(title, _("There is no metric, so there is no verdict."), actions)
    found = [
        (metric, [MetricRow(metric, one) for one in metric["treatments"]])
        for metric in report["metrics"]
    ]
    axis = Axis(row.change for _metric, rows in found for row in rows if row.change)
    control, *treatments = (one["key"] for one in report["settings"]["variants"])
    is_one = len(treatments) == 1
    scale: str = format_html(
        '<span class="visually-hidden">{}</span>{}', _("Difference"), axis.labels()
    )
    table = Table(
        [
            Column(_("Metric")),
            Column(control, is_number=True),
            Column(treatments[0] if is_one else _("Treatment"), is_number=True),
            Column(scale),
            Column(_("p, corrected"), is_number=True),
            Column(_("Result")),
        ],
        [cells for metric, rows in found for cells in _cells(metric, rows, axis, is_one=is_one)],
        note=" ".join(
            filter(
                None,
                [
                    _(
                        "Drawn is the change in relation to the control. The verdict follows from "
                        "the interval that is drawn."
                    ),
                    wider_intervals_text(report),
                ],
            )
        ),
    )
    return Section(title, table.html(title), actions)


def _cells(
    metric: MetricReport, rows: Sequence[MetricRow], axis: Axis, *, is_one: bool
) -> Iterator[tuple[str, ...]]:
    role, day = str(_ROLES[metric["role"]]), metric["added_on_day"]
    added = _("added on day %(day)s") % {"day": day} if day else ""
    if metric["error"]:
        error = two_lines(badge("no verdict", _("fails")), str(localized(metric["error"])))
        yield (two_lines(metric["metric"], role, added), NONE, NONE, "", NONE, error)
    for row in rows:
        treatment = "" if is_one else row.result["treatment"]
        name = two_lines(metric["metric"], treatment, role, added, " · ".join(_facts(metric)))
        colour, text, note = row.verdict
        shown = two_lines(badge(_COLOURS[colour], text), note)
        if row.newest is None:
            yield (name, NONE, NONE, "", NONE, shown)
            continue
        drawing = axis.drawing(row.change, colour, row.effect) if row.change else ""
        yield (
            name,
            row.write(row.newest["control"]),
            row.write(row.newest["treatment"]),
            format_html("<div>{}<small>{}</small></div>", drawing, row.effect),
            p_text(row.result["corrected_p_value"]),
            shown,
        )


def _facts(metric: MetricReport) -> list[str]:
    """Returns what is measured, and in how many units."""
    full = ngettext(
        "%(count)s unit with a full window", "%(count)s units with a full window", metric["units"]
    )
    kinds = {
        "conversion": _("share of units with an event within %(window)s"),
        "mean": _("mean per unit, within %(window)s"),
        "ratio": _("ratio of two sums, within %(window)s"),
    }
    window = localized(duration(metric["window_seconds"]))
    kind = kinds.get(metric["kind"], metric["kind"]) % {"window": window}
    direction = "" if metric["higher_is_better"] else _("lower is better")
    count = full % {"count": local_number(metric["units"])}
    return [one for one in (metric["description"] or kind, direction, count) if one]


def course(report: Report) -> Section:
    """Returns how the primary metric has come to its result."""
    title, drawings = _("Primary metric over time"), SafeString()
    for metric in () if report["has_mismatch"] else report["metrics"]:
        for result in metric["treatments"] if metric["role"] == PRIMARY else ():
            found = Course([*map(_point, result["looks"])])
            if found.is_drawn:
                drawings += _figure(metric, MetricRow(metric, result), found)
    return Section(title, drawings)


def _point(look: LookReport) -> Point:
    difference = look["treatment"] - look["control"]
    return Point(time_of(look["at"]), difference, look["low"], look["high"])


def _figure(metric: MetricReport, row: MetricRow, found: Course) -> SafeString:
    name = (
        _("%(metric)s of %(treatment)s: difference in percentage points")
        if metric["is_proportion"]
        else _("%(metric)s of %(treatment)s: difference")
    ) % {"metric": metric["metric"], "treatment": row.result["treatment"]}
    low, high = (signed(bound, row.write_difference) for bound in found.bounds)
    begin, end = (hour_text(found.points[place].at) for place in (0, -1))
    text = _(
        "From %(begin)s to %(end)s, between %(low)s and %(high)s. The line is 0, the band is the "
        "%(level)s interval."
    ) % {"begin": begin, "end": end, "low": low, "high": high, "level": row.level}
    return format_html(
        "<figure>{}<figcaption>{}. {}</figcaption></figure>", found.drawing(name), name, text
    )


def conclusions(report: Report) -> Section:
    """Returns what may and what may not be concluded."""
    parts = SafeString()
    for verdict in report["verdicts"]:
        may, may_not = (
            format_html_join("", "<li>{}</li>", ([text] for text in statement_texts(found)))
            for found in (verdict["may_conclude"], verdict["may_not_conclude"])
        )
        if len(report["verdicts"]) > 1 and (may or may_not):
            parts += format_html("<h3>{}</h3>", verdict["treatment"])
        if may:
            parts += format_html('<ul class="flagstaff-may">{}</ul>', may)
        if may_not:
            parts += format_html("<p>{}</p><ul>{}</ul>", _("Keep in mind:"), may_not)
    return Section(_("What this means"), parts)


# The counts.


def units(report: Report) -> Section:
    """Returns the units of each variant beside their planned shares."""
    counts = report["exposures"]
    columns = [
        Column(_("Variant")),
        *(
            Column(one, is_number=True)
            for one in (_("Planned"), _("Seen"), _("Units"), _("Expected"))
        ),
    ]
    has_present = any(counts["present_hour"].values())
    if counts["returned"]:
        columns.append(Column(_("Never came back"), is_number=True))
    if has_present:
        columns.append(Column(_("Present hour"), is_number=True))
    total = sum(counts["units"].values())
    shares = {one["key"]: one["share"] for one in report["settings"]["variants"]}
    rows = [
        (
            key,
            percent_text(shares[key]),
            percent_text(met / total) if total else NONE,
            count_text(met),
            count_text(expected),
            *([_not_returned(counts, key)] if counts["returned"] else []),
            *([count_text(counts["present_hour"][key])] if has_present else []),
        )
        for key, met, expected in _expected(report)
    ]
    text = _("Units of the present hour are not analysed yet.") if has_present else ""
    note = f"{_mismatch_text(report)} {text}"
    title = _("Units")
    return Section(title, Table(columns, rows, note=note).html(title), ("grow", "restart"))


def _expected(report: Report) -> Iterator[tuple[str, int, float]]:
    """Yields the variants with their units, and with as many as their shares give."""
    counts = report["exposures"]["units"]
    total = sum(counts.values())
    for one in report["settings"]["variants"]:
        yield one["key"], counts[one["key"]], total * one["share"]


def _not_returned(counts: ExposureReport, variant: str) -> str:
    """Returns the share of visitors whose browser has not come back."""
    met, returned = counts["units"][variant], (counts["returned"] or {}).get(variant, 0)
    return percent_text(1 - returned / met) if met else NONE


def _mismatch_text(report: Report) -> str:
    """Returns whether the shares are as expected."""
    counts = report["exposures"]
    if not any(counts["units"].values()):
        return _("No unit had met a variant at the last full hour.")
    text = (
        _("The shares are wrong: %(p)s, at every look.")
        if report["has_mismatch"]
        else _("The shares are as expected: %(p)s, at every look.")
    )
    return text % {"p": p_sentence(counts["mismatch_p_value"])}
