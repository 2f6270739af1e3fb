"""The rows and sentences of a report, as the page and the terminal show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._engine.forced_off import VARIABLE
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import duration, local_time_text
from flagstaff.experiments.figures import (
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
from flagstaff.experiments.report_data import (
    GUARDRAIL,
    OTHER,
    PRIMARY,
    EffectReport,
    ExposureReport,
    MetricReport,
    Report,
    TreatmentReport,
    VerdictReport,
    has_interval,
)

_Write: TypeAlias = Callable[[float], str]

_ROLES: Mapping[str, str | Promise] = {
    PRIMARY: gettext_lazy("primary metric"),
    OTHER: gettext_lazy("other metric"),
    GUARDRAIL: gettext_lazy("guardrail"),
}


# The metrics.


class MetricRow:
    """One treatment of one metric at its newest look."""

    def __init__(self, metric: MetricReport, result: TreatmentReport) -> None:
        self.metric, self.result = metric, result
        self.newest = result["newest"]
        self.is_guardrail = metric["role"] == GUARDRAIL
        self.write: _Write = percent_text if metric["is_proportion"] else number_text
        self.write_difference: _Write = points_text if metric["is_proportion"] else number_text
        self.level = level_text(result["interval_alpha"])

    @property
    def control(self) -> str:
        """The value of the control."""
        return NONE if self.newest is None else self.write(self.newest["control"])

    @property
    def treatment(self) -> str:
        """The value of the treatment."""
        return NONE if self.newest is None else self.write(self.newest["treatment"])

    @property
    def p_value(self) -> str:
        """The p value that decides; that of a guardrail, which has none, is a dash."""
        return NONE if self.newest is None else p_text(self.result["corrected_p_value"])

    @property
    def difference(self) -> EffectReport | None:
        """The difference; the interval of a guardrail's begins at the bound that decides."""
        difference = None if self.newest is None else self.newest["difference"]
        bound = self.result["harm_bound"] if self.is_guardrail else None
        if (
            difference is None
            or bound is None
            or difference["low"] is None
            or difference["high"] is None
        ):
            return difference
        if self.metric["higher_is_better"]:
            return {**difference, "high": -bound} if -bound >= difference["low"] else difference
        return {**difference, "low": bound} if bound <= difference["high"] else difference

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
            text = _("too few units for an interval")
        return f"{shown} · {text}"

    @property
    def verdict(self) -> tuple[str, str, str]:
        """The colour of the interval, the result in words, and what else to know.

        The colour says what the interval shows. Where an earlier look has decided, the words say
        so.
        """
        difference, decided = self.difference, self.result["decided_difference"]
        if difference is None:
            return "open", _("no result yet"), ""
        if self.is_guardrail:
            return self._guardrail_verdict(difference)
        if not self.result["is_significant"] or decided is None:
            return "open", _("not significant"), ""
        is_better = (decided > 0) == self.metric["higher_is_better"]
        text = _("better, significant") if is_better else _("worse, significant")
        if _contains_zero(difference) or (difference["value"] > 0) != (decided > 0):
            at = self.result["decided_at"]
            time = hour_text(time_of(at)) if at else NONE
            note = _("at the look of %(time)s; the newest look differs") % {"time": time}
            return "open", text, note
        return "fine" if is_better else "bad", text, ""

    def _guardrail_verdict(self, difference: EffectReport) -> tuple[str, str, str]:
        sign = -1 if self.metric["higher_is_better"] else 1
        least, most = (
            (difference["low"], difference["high"])
            if sign > 0
            else (difference["high"], difference["low"])
        )
        tolerated = self.result["tolerated_harm"] or 0.0
        if self.result["is_harmed"]:
            is_now = least is not None and sign * least > tolerated
            text = _("worse by more than is tolerated")
            notes = [] if is_now else [_("at an earlier look")]
            if not self.result["is_stopping"]:
                notes.append(_("not certain enough to stop"))
            return "bad" if is_now else "open", text, ", ".join(notes)
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


def possible_harms(report: Report, treatment: str) -> list[str]:
    """Returns the guardrails whose harm by a treatment does not stop it, and is not excluded.

    What is tolerated is no harm, and neither is the control.
    """
    return [
        metric["metric"]
        for metric in report["metrics"]
        if metric["role"] == GUARDRAIL
        and any(
            not result["is_stopping"] and MetricRow(metric, result).verdict[0] != "fine"
            for result in metric["treatments"]
            if result["treatment"] == treatment
        )
    ]


def role_texts(metric: MetricReport) -> list[str]:
    """Returns what a metric is for, and since when it is measured if it was added."""
    day = metric["added_on_day"]
    added = [_("added on day %(day)s") % {"day": day}] if day else []
    return [str(_ROLES[metric["role"]]), *added]


def facts(metric: MetricReport) -> list[str]:
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
    warning = localized(metric["warning"] or "")
    return [text for text in (metric["description"] or kind, direction, count, warning) if text]


# The units.


def unit_rows(report: Report) -> list[dict[str, str]]:
    """Returns the units of each variant beside their planned shares, by the name of the column."""
    counts = report["exposures"]
    total = sum(counts["units"].values())
    shares = {variant["key"]: variant["share"] for variant in report["settings"]["variants"]}
    rows = []
    for key, met, expected in expected_units(report):
        row = {
            _("Variant"): key,
            _("Planned"): percent_text(shares[key]),
            _("Seen"): percent_text(met / total) if total else NONE,
            _("Units"): count_text(met),
            _("Expected"): count_text(expected),
        }
        if counts["returned"]:
            row[_("Never came back")] = _not_returned(counts, key)
        if any(counts["present_hour"].values()):
            # Not analysed yet.
            row[_("Present hour")] = count_text(counts["present_hour"][key])
        rows.append(row)
    return rows


def expected_units(report: Report) -> Iterator[tuple[str, int, float]]:
    """Yields the variants with their units, and with as many as their shares give."""
    counts = report["exposures"]["units"]
    total = sum(counts.values())
    for variant in report["settings"]["variants"]:
        yield variant["key"], counts[variant["key"]], total * variant["share"]


def _not_returned(counts: ExposureReport, variant: str) -> str:
    """Returns the share of visitors whose browser has not come back."""
    met, returned = counts["units"][variant], (counts["returned"] or {}).get(variant, 0)
    return percent_text(1 - returned / met) if met else NONE


def shares_text(report: Report) -> str:
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


# What else to know.


def verdict_notes(report: Report, verdict: VerdictReport) -> Iterator[str]:
    """Yields the guardrails that got worse, and what a verdict still needs, as sentences."""
    if harmed := verdict["harmed"]:
        yield _("Harmed: %(harmed)s") % {"harmed": ", ".join(harmed)}
    if failed := verdict["failed"]:
        text = _("A verdict needs these guardrails, which cannot be computed: %(names)s.")
        yield text % {"names": ", ".join(failed)}
    days, units = math.ceil(verdict["missing_days"]), verdict["missing_units"]
    missing = {
        ngettext("%(number)s more day", "%(number)s more days", days): days,
        ngettext(
            "%(number)s more unit in the smaller variant",
            "%(number)s more units in the smaller variant",
            units,
        ): units,
    }
    parts = [text % {"number": local_number(number)} for text, number in missing.items() if number]
    if parts:
        yield _("A verdict needs %(what)s.") % {"what": _(" and ").join(parts)}
    if verdict["outcome"] == "undecided":
        if report["settings"]["smallest_effect"] is None:
            yield _("Without a smallest effect that matters, there is never “no difference”.")
        elif verdict["undecided_units"] is not None:
            yield _undecided_text(verdict["undecided_units"])


def _undecided_text(units: int) -> str:
    if not units:
        return _(
            "Most experiments are decided with these units. An effect near half of the smallest "
            "one that matters can need many times as many."
        )
    text = ngettext(
        "With about %(count)s more unit, four of five experiments without an effect, or with the "
        "smallest one that matters, are decided; others can need many more.",
        "With about %(count)s more units, four of five experiments without an effect, or with the "
        "smallest one that matters, are decided; others can need many more.",
        units,
    )
    return text % {"count": local_number(units)}


def correction_text(report: Report) -> str:
    """Returns what several metrics or guardrails change; empty if there is one of each."""
    alpha = report["settings"]["alpha"]
    results = [result for metric in report["metrics"] for result in metric["treatments"]]
    texts = []
    if min((result["interval_alpha"] for result in results), default=alpha) < alpha:
        texts.append(
            _(
                "With several metrics, one can look good by chance. So the intervals are wider "
                "(Holm's correction)."
            )
        )
    stop_alpha = min((result["stop_alpha"] or alpha for result in results), default=alpha)
    if stop_alpha < alpha:
        text = _(
            "A guardrail is worse at %(alpha)s, and stops at %(stop_alpha)s: all guardrails "
            "together have %(alpha)s."
        )
        texts.append(text % {"alpha": percent_text(alpha), "stop_alpha": percent_text(stop_alpha)})
    return " ".join(texts)


def notes(report: Report) -> Iterator[str]:
    """Yields what is missing or left out in the report, as sentences."""
    counts = report["exposures"]
    if report["forced_off"]:
        text = _("Forced off in this process by %(variable)s: every call returns its default.")
        yield text % {"variable": VARIABLE}
    texts = {
        _(
            "Exposures lost, because too many waited in a worker: %(count)s. Their units may be "
            "recorded later."
        ): counts["lost"],
        _(
            "New visitors left out, because a worker reached NEW_VISITORS_PER_HOUR: %(count)s."
        ): counts["left_out"],
        _(
            "Workers that ended without their last report: %(count)s. Exposures of their last "
            "interval may be missing."
        ): counts["workers_without_last_report"],
        _("Units that met two variants: %(count)s. They are left out of all figures."): counts[
            "met_two_variants"
        ],
    }
    yield from (text % {"count": local_number(count)} for text, count in texts.items() if count)
    if report["frozen_at"]:
        text = _("This report was kept as it was on %(time)s.")
        yield text % {"time": local_time_text(time_of(report["frozen_at"]))}
