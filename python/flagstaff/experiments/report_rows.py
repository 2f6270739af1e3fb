"""The rows, sentences and figures of a report, as the page and the terminal show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from django.utils.formats import number_format
from django.utils.functional import Promise

from flagstaff._engine.forced_off import VARIABLE
from flagstaff._text import Sentence, local_number, localized, say
from flagstaff._text.times import duration, local_time_text
from flagstaff.experiments.models import State
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
from flagstaff.experiments.verdict import Outcome, outcome_text

#: Instead of a number that does not exist.
NONE = "\N{EN DASH}"

_MINUS = "\N{MINUS SIGN}"
# No line begins with the sign.
_PERCENT = "\N{NO-BREAK SPACE}%"
_ALL = 100
# Digits of a number that is neither a count nor a percentage.
_DIGITS = 4
# Percentages from here on have one decimal.
_LARGE_PERCENT = 10
_SMALLEST_P = 0.0001
_MOST_DECIMALS = 4
# Smaller numbers are what sums of floats leave over.
_SMALLEST = 1e-9


def count_text(count: float) -> str:
    """Returns a number of units, rounded."""
    return _grouped(round(count), 0)


def percent_text(share: float) -> str:
    """Returns a share as a percentage, such as "9.53 %"."""
    return f"{points_text(share)}{_PERCENT}"


def percent_number_text(share: float) -> str:
    """Returns a share as a percentage with as few digits as a number of an axis has."""
    return f"{number_text(_ALL * share)}{_PERCENT}"


def points_text(share: float) -> str:
    """Returns a share times 100. Small ones have more decimals."""
    points = _ALL * share
    if not round(points, _MOST_DECIMALS):
        return "0"
    decimals = (
        1 if abs(points) >= _LARGE_PERCENT else 2 if abs(points) >= 1 / 10 else _MOST_DECIMALS
    )
    return _grouped(points, decimals)


def number_text(number: float) -> str:
    """Returns a number with four significant digits, or more if it has more before the point."""
    if abs(number) < _SMALLEST:
        return "0"
    decimals = max(_DIGITS - 1 - math.floor(math.log10(abs(number))), 0)
    text = f"{number:.{decimals}f}"
    if decimals:
        text = text.rstrip("0").rstrip(".")
    return local_number(Decimal(text))


def signed(number: float, write: Callable[[float], str]) -> str:
    """Returns a difference with its sign."""
    text = write(abs(number))
    if text == write(0.0):
        return text
    return f"{'+' if number > 0 else _MINUS}{text}"


def interval_text(effect: EffectReport, write: Callable[[float], str]) -> str:
    """Returns the bounds of an interval, such as "+1 % to +5 %"."""
    low, high = effect["low"], effect["high"]
    if low is not None and high is not None:
        return say("{low} to {high}", low=signed(low, write), high=signed(high, write)).local
    if low is not None:
        return say("at least {bound}", bound=signed(low, write)).local
    if high is not None:
        return say("at most {bound}", bound=signed(high, write)).local
    return say("too few units for an interval").local


def level_text(alpha: float) -> str:
    """Returns the level of an interval, such as "97.5 %"."""
    return f"{number_format(f'{_ALL * (1 - alpha):.4g}', use_l10n=True)}{_PERCENT}"


def p_text(p_value: float | None) -> str:
    """Returns a p value. Below 1 in 10,000 it only matters that it is small."""
    if p_value is None:
        return NONE
    if p_value < _SMALLEST_P:
        return f"< {number_format(str(_SMALLEST_P), use_l10n=True)}"
    return _grouped(p_value, _MOST_DECIMALS)


def p_sentence(p_value: float) -> str:
    """Returns the same with its name, such as "p = 0.0312"."""
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def time_of(text: str) -> datetime:
    """Returns a time of a report."""
    # Python 3.10 does not know "Z".
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _grouped(number: float, decimals: int) -> str:
    # Django cuts off the other digits.
    rounded = round(number, decimals)
    return number_format(rounded, decimals, use_l10n=True, force_grouping=True)


_Write: TypeAlias = Callable[[float], str]

_ROLES: Mapping[str, str | Promise] = {
    PRIMARY: say("primary metric").lazy,
    OTHER: say("other metric").lazy,
    GUARDRAIL: say("guardrail").lazy,
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
            shown = say("{number} points", number=shown).local
        text = self._with_interval(shown, self.difference, self.write_difference)
        if (tolerated := self.result["tolerated_harm"]) is not None:
            limit = self.write_difference(tolerated)
            text = say("{effect}; tolerated: {limit}", effect=text, limit=limit).local
        return text

    def _with_interval(self, shown: str, effect: EffectReport, write: _Write) -> str:
        if has_interval(effect):
            values = {"level": self.level, "interval": interval_text(effect, write)}
            text = say("{level} interval: {interval}", **values).local
        else:
            text = say("too few units for an interval").local
        return f"{shown} · {text}"

    @property
    def verdict(self) -> tuple[str, str, str]:
        """The colour of the interval, the result in words, and what else to know.

        The colour says what the interval shows. Where an earlier look has decided, the words say
        so.
        """
        difference, decided = self.difference, self.result["decided_difference"]
        if difference is None:
            return "open", say("no result yet").local, ""
        if self.is_guardrail:
            return self._guardrail_verdict(difference)
        if not self.result["is_significant"] or decided is None:
            return "open", say("not significant").local, ""
        is_better = (decided > 0) == self.metric["higher_is_better"]
        text = say("better, significant").local if is_better else say("worse, significant").local
        if _contains_zero(difference) or (difference["value"] > 0) != (decided > 0):
            at = self.result["decided_at"]
            time = local_time_text(time_of(at)) if at else NONE
            note = say("at the look of {time}; the newest look differs", time=time).local
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
            text = say("worse by more than is tolerated").local
            notes = [] if is_now else [say("at an earlier look").local]
            if not self.result["is_stopping"]:
                notes.append(say("not certain enough to stop").local)
            return "bad" if is_now else "open", text, ", ".join(notes)
        if most is not None and sign * most <= tolerated:
            return "fine", say("within what is tolerated").local, ""
        if most is None:
            return (
                "open",
                say("not certain").local,
                say("more harm than tolerated is possible").local,
            )
        bound = signed(most, self.write_difference)
        return (
            "open",
            say("not certain").local,
            say("harm up to {bound} is possible", bound=bound).local,
        )


def _contains_zero(effect: EffectReport) -> bool:
    """Whether no effect is possible."""
    low, high = effect["low"], effect["high"]
    return (low is None or low <= 0) and (high is None or high >= 0)


def possible_harms(report: Report, treatment: str) -> Iterator[Sentence]:
    """Yields which guardrails a treatment may harm, although they do not stop it.

    What is tolerated is no harm, and neither is the control.
    """
    harm = say("Guardrail {metric} may have got worse by more than is tolerated.")
    unmeasured = say("Guardrail {metric} cannot be judged yet.")
    rows = (
        MetricRow(metric, result)
        for metric in report["metrics"]
        if metric["role"] == GUARDRAIL
        for result in metric["treatments"]
        if result["treatment"] == treatment and not result["is_stopping"]
    )
    for row in rows:
        if row.verdict[0] != "fine":
            text = unmeasured if row.difference is None else harm
            yield say(text, metric=row.metric["metric"])


def role_texts(metric: MetricReport) -> list[str]:
    """Returns what a metric is for, and since when it is measured if it was added."""
    day = metric["added_on_day"]
    added = [say("added on day {day}", day=day).local] if day else []
    return [str(_ROLES[metric["role"]]), *added]


def facts(metric: MetricReport) -> list[str]:
    """Returns what is measured, and in how many units."""
    kinds = {
        "conversion": say("share of units with an event within {window}"),
        "mean": say("mean per unit, within {window}"),
        "ratio": say("ratio of two sums, within {window}"),
    }
    window = localized(duration(metric["window_seconds"]))
    kind = say(kinds.get(metric["kind"], metric["kind"]), window=window).local
    direction = "" if metric["higher_is_better"] else say("lower is better").local
    count = say(
        "{count} unit observed for the full {window}",
        "{count} units observed for the full {window}",
        count=metric["units"],
        window=window,
    ).local
    warning = localized(metric["warning"] or "")
    return [text for text in (metric["description"] or kind, direction, count, warning) if text]


def before_texts(metric: MetricReport) -> tuple[str, dict[str, str]] | None:
    """Returns the time before which other units counted, and their figures by variant, if any.

    None if nothing was changed.
    """
    if (before := metric["before"]) is None:
        return None
    write: _Write = percent_text if metric["is_proportion"] else number_text
    texts = {}
    for variant, figures in before["variants"].items():
        value = NONE if figures["value"] is None else write(figures["value"])
        text = say("{value} of {count} unit", "{value} of {count} units")
        texts[variant] = say(text, value=value, count=figures["units"]).local
    return local_time_text(time_of(before["until"])), texts


# The units.


def unit_rows(report: Report) -> list[dict[str, str]]:
    """Returns the units of each variant beside their planned shares, by the name of the column."""
    counts = report["exposures"]
    total = sum(counts["units"].values())
    shares = {variant["key"]: variant["share"] for variant in report["settings"]["variants"]}
    rows = []
    for key, met, expected in expected_units(report):
        row = {
            say("Variant").local: key,
            say("Planned").local: percent_text(shares[key]),
            say("Seen").local: percent_text(met / total) if total else NONE,
            say("Units").local: count_text(met),
            say("Expected").local: count_text(expected),
        }
        if counts["returned"]:
            row[say("Never came back").local] = _not_returned(counts, key)
        if any(counts["present_hour"].values()):
            # Not analysed yet.
            row[say("Present hour").local] = count_text(counts["present_hour"][key])
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
        return say("No unit has met a variant yet; the counts are updated every hour.").local
    text = (
        say("The shares are wrong: {p}, valid however often you look.")
        if report["has_mismatch"]
        else say("The shares are as expected: {p}, valid however often you look.")
    )
    return say(text, p=p_sentence(counts["mismatch_p_value"])).local


# What else to know.


def verdict_text(report: Report, verdict: VerdictReport) -> str:
    """Returns the outcome in words; before the first unit, that there is none.

    That a treatment is better is said together with the harm that it may do.
    """
    outcome, has_units = verdict["outcome"], any(report["exposures"]["units"].values())
    if outcome == Outcome.TOO_EARLY.value and not has_units:
        return say("no units yet").local
    if harms_of_better(report, verdict):
        return say("the treatment is better, but may harm a guardrail").local
    return outcome_text(outcome)


def harms_of_better(report: Report, verdict: VerdictReport) -> list[Sentence]:
    """Returns which guardrails a better treatment may harm; empty for one that is not better."""
    is_better = verdict["outcome"] == Outcome.BETTER.value
    return [*possible_harms(report, verdict["treatment"])] if is_better else []


def verdict_notes(report: Report, verdict: VerdictReport) -> Iterator[str]:
    """Yields which guardrails got worse or may have, and what a verdict still needs."""
    yield from map(localized, harms_of_better(report, verdict))
    if harmed := verdict["harmed"]:
        yield say("Harmed: {harmed}", harmed=", ".join(harmed)).local
    if failed := verdict["failed"]:
        text = say("A verdict needs these guardrails, which cannot be computed: {names}.")
        yield say(text, names=", ".join(failed)).local
    days, units = math.ceil(verdict["missing_days"]), verdict["missing_units"]
    missing = {
        say("{count} more day", "{count} more days"): days,
        say(
            "{count} more unit in the smaller variant",
            "{count} more units in the smaller variant",
        ): units,
    }
    parts = [say(text, count=count).local for text, count in missing.items() if count]
    # Of one that has ended, no more will come.
    if parts and report["state"] == State.RUNNING and report["frozen_at"] is None:
        yield say("A verdict needs {what}.", what=say(" and ").local.join(parts)).local
    if verdict["outcome"] == "undecided":
        if report["settings"]["smallest_effect"] is None:
            yield say(
                "Without a smallest effect that matters, there is never “no difference”."
            ).local
        elif verdict["undecided_units"] is not None:
            yield _undecided_text(verdict["undecided_units"])


def _undecided_text(units: int) -> str:
    if not units:
        return say(
            "Most experiments are decided with these units. An effect near half of the smallest "
            "one that matters can need many times as many."
        ).local
    return say(
        "With about {count} more unit, four of five experiments without an effect, or with the "
        "smallest one that matters, are decided; others can need many more.",
        "With about {count} more units, four of five experiments without an effect, or with the "
        "smallest one that matters, are decided; others can need many more.",
        count=units,
    ).local


def correction_text(report: Report) -> str:
    """Returns what several metrics or guardrails change; empty if there is one of each.

    It says why the intervals of one table have several levels.
    """
    alpha = report["settings"]["alpha"]
    compared, guardrails = list[TreatmentReport](), list[TreatmentReport]()
    for metric in report["metrics"]:
        results = guardrails if metric["role"] == GUARDRAIL else compared
        results += metric["treatments"]
    texts, alphas = [], {result["interval_alpha"] for result in compared}
    if min(alphas, default=alpha) < alpha:
        texts.append(
            say(
                "With several metrics, one can look good by chance. So the intervals are wider, "
                "and the p values are higher."
            ).local
        )
        if len(alphas) > 1:
            texts.append(
                say("The smaller the p value, the higher the level of its interval.").local
            )
        if guardrails:
            text = say("Guardrails keep {level} intervals: none of them is a reason to ship.")
            texts.append(say(text, level=level_text(alpha)).local)
    stop_alpha = min((result["stop_alpha"] or alpha for result in guardrails), default=alpha)
    if stop_alpha < alpha:
        texts.append(
            say(
                "A guardrail is worse at {alpha}, and stops at {stop_alpha}: all guardrails "
                "together have {alpha}.",
                alpha=percent_text(alpha),
                stop_alpha=percent_text(stop_alpha),
            ).local
        )
    return " ".join(texts)


def notes(report: Report) -> Iterator[str]:
    """Yields what is missing or left out in the report, as sentences."""
    counts = report["exposures"]
    if report["forced_off"]:
        text = say("Forced off in this process by {variable}: every call returns its default.")
        yield say(text, variable=VARIABLE).local
    texts = {
        say(
            "Exposures lost, because too many waited in a worker: {count}. Their units may be "
            "recorded later."
        ): counts["lost"],
        say(
            "New visitors left out, because a worker reached NEW_VISITORS_PER_HOUR: {count}."
        ): counts["left_out"],
        say(
            "Workers that ended without their last report: {count}. Exposures of their last "
            "interval may be missing."
        ): counts["workers_without_last_report"],
        say("Units that met two variants: {count}. They are left out of all figures."): counts[
            "met_two_variants"
        ],
    }
    yield from (say(text, count=count).local for text, count in texts.items() if count)
    if report["frozen_at"]:
        text = say("This report was kept as it was on {time}.")
        yield say(text, time=local_time_text(time_of(report["frozen_at"]))).local
