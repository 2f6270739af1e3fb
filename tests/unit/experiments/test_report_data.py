"""A report as JSON and back, and the intervals that its page draws. No test uses the database."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Any

import pytest
from flagstaff.experiments.report_json import report_as_json, report_from_json, time_as_json

from flagstaff._words.text import Text
from flagstaff.experiments.admin.texts import guardrail_interval, verdict
from flagstaff.experiments.report_data import (
    DayUnits,
    EffectReport,
    ExposureReport,
    HourColumns,
    LookColumns,
    MetricReport,
    MissingUnits,
    NewestLook,
    PhaseReport,
    Report,
    Role,
    SettingsReport,
    StratumReport,
    TreatmentReport,
    VariantReport,
    VerdictReport,
)
from flagstaff.experiments.statistics import Outcome, Statement

NOW = datetime(2026, 11, 20, 13, tzinfo=timezone.utc)


def look(difference: EffectReport) -> NewestLook:
    return NewestLook(
        at=NOW,
        units=100,
        control=0.5,
        treatment=0.5 + difference.value,
        difference=difference,
        relative_difference=difference.scaled(0.5),
        lift=None,
        control_standard_error=0.1,
        treatment_standard_error=0.1,
        p_value=0.2,
        missing_for_interval=[MissingUnits("control", "units", 3)],
        phases=[StratumReport(1, {"units": 50}, {"units": 50}, None, 0.25)],
    )


def result(difference: EffectReport, **more: Any) -> TreatmentReport:
    found = TreatmentReport(
        treatment="green",
        p_value=0.01,
        corrected_p_value=0.02,
        is_significant=False,
        decided_at=None,
        decided_difference=None,
        interval_alpha=0.025,
        newest=look(difference),
        looks=LookColumns(1, NOW, [0], [100], [0.5], [0.1], [0.6], [0.1], [None]),
    )
    return replace(found, **more)


def report() -> Report:
    settings = SettingsReport(
        variants=[VariantReport("blue", 1, 0.5), VariantReport("green", 1, 0.5, "a new one")],
        traffic_percent=100,
        bucket_by="user",
        rules=[{"conditions": []}],
        shuffle=0,
        method="sequential",
        planned_units=100,
        min_days=7,
        min_units=10,
        smallest_effect=None,
        alpha=0.05,
    )
    exposures = ExposureReport(
        units={"blue": 50, "green": 50},
        expected={"blue": 50.0, "green": 50.0},
        planned_shares={"blue": 0.5, "green": 0.5},
        seen_shares={"blue": 0.5, "green": None},
        present_hour={"blue": 0, "green": 1},
        met_two_variants=1,
        moved=2,
        lost=3,
        left_out=4,
        returned=None,
        workers_without_last_report=5,
        mismatch_p_value=0.5,
        chi_square_p_value=0.25,
        days=[DayUnits(date(2026, 11, 20), {"blue": 50, "green": 50})],
        hours=HourColumns(NOW, [0], [1], {"blue": [50], "green": [50]}),
    )
    verdict = VerdictReport(
        treatment="green",
        outcome=Outcome.UNDECIDED,
        may_conclude=[Statement.MORE_UNITS_CAN_DECIDE],
        may_not_conclude=[Statement.TREND_IS_NO_RESULT],
        harmed=[],
        failed=["refunds"],
        missing_days=0.5,
        missing_units=7,
        largest_possible_effect=None,
    )
    return Report(
        key="button",
        description="",
        owner="web",
        state="running",
        winner=None,
        forced_off=False,
        frozen_at=NOW,
        started_at=NOW,
        ended_at=None,
        settings=settings,
        phases=[PhaseReport(1, {"blue": 0.5, "green": 0.5}, {"blue": 0.5}, NOW, None)],
        exposures=exposures,
        has_mismatch=False,
        verdicts=[verdict],
        metrics=[
            MetricReport(
                "orders", Role.PRIMARY, 100, treatments=[result(EffectReport(0.1, 0.1, -0.1, 0.3))]
            ),
            MetricReport(
                "refunds",
                Role.GUARDRAIL,
                error=Text("the metric {metric} fails: {error}", metric="a", error="b"),
                treatments=[],
            ),
        ],
    )


@pytest.mark.parametrize("microsecond", [0, 123, 999, 1000, 123_456])
def test_time_has_the_same_text_after_it_was_read(microsecond: int) -> None:
    text = time_as_json(NOW.replace(microsecond=microsecond))
    assert time_as_json(datetime.fromisoformat(text.replace("Z", "+00:00"))) == text


def test_report_that_is_stored_is_read_again() -> None:
    stored = json.loads(json.dumps(report_as_json(report())))
    found = report_from_json(stored)
    assert found == report()
    assert report_as_json(found) == stored


def test_report_of_a_failing_metric_has_its_error() -> None:
    assert report().metric_error().startswith("the metric refunds fails: ")
    metrics = [replace(one, role=Role.OTHER) for one in report().metrics]
    found = replace(report(), metrics=metrics)
    assert (found.metric_error(), bool(found.metric_error(every_metric=True))) == ("", True)


# The words and the colour of a result follow the interval that is drawn.


@pytest.mark.parametrize(
    ("low", "high", "decided", "higher_is_better", "words", "colour"),
    [
        (0.01, 0.19, 0.1, True, "better, significant", "fine"),
        (0.01, 0.19, 0.1, False, "worse, significant", "bad"),
        (-0.19, -0.01, -0.1, True, "worse, significant", "bad"),
        (-0.1, 0.3, 0.1, True, "better, significant at the look of", "open"),
        (-0.1, 0.3, None, True, "not significant", "open"),
        (0.01, 0.19, None, True, "not significant: the test and the interval differ", "open"),
    ],
)
def test_colour_of_a_metric_is_that_of_its_interval(  # noqa: PLR0913, PLR0917 (a table)
    low: float,
    high: float,
    decided: float | None,
    higher_is_better: bool,
    words: str,
    colour: str,
) -> None:
    metric = MetricReport("orders", Role.PRIMARY, higher_is_better=higher_is_better)
    effect = EffectReport((low + high) / 2, 0.1, low, high)
    decision = {"is_significant": decided is not None, "decided_at": NOW}
    found = result(effect, decided_difference=decided, **decision)
    text, css = verdict(found, metric)
    assert text.startswith(words)
    assert css == colour
    # What is drawn in relation to the control says the same.
    assert effect.scaled(0.5).contains_zero == effect.contains_zero


@pytest.mark.parametrize(
    ("bound", "drawn", "words", "colour"),
    [
        (0.06, (0.06, 0.2), "worse by more than is tolerated", "bad"),
        (0.04, (0.04, 0.2), "harm up to {} is possible", "open"),
        (0.3, (0.02, 0.2), "worse by more than is tolerated at an earlier look", "open"),
        (None, (0.02, 0.2), "harm up to {} is possible", "open"),
    ],
)
@pytest.mark.parametrize("higher_is_better", [False, True])
def test_interval_of_a_guardrail_begins_at_the_bound_that_decides(
    bound: float | None,
    drawn: tuple[float, float],
    words: str,
    colour: str,
    higher_is_better: bool,
) -> None:
    metric = MetricReport("refunds", Role.GUARDRAIL, higher_is_better=higher_is_better)
    low, high = (-0.2, -0.02) if higher_is_better else (0.02, 0.2)
    effect = EffectReport((low + high) / 2, 0.1, low, high)
    found = result(effect, tolerated_harm=0.05, harm_bound=bound, is_harmed=(bound or 0) > 0.05)
    interval = guardrail_interval(found, metric, effect)
    ends = (interval.low, interval.high)
    assert ends == ((-drawn[1], -drawn[0]) if higher_is_better else drawn)
    worst = "\N{MINUS SIGN}0.2" if higher_is_better else "+0.2"
    assert verdict(found, metric) == (words.format(worst), colour)


def test_guardrail_without_a_bound_is_not_certain() -> None:
    metric = MetricReport("refunds", Role.GUARDRAIL, higher_is_better=False)
    effect = EffectReport(0.0, 0.01, None, None)
    found = result(effect, tolerated_harm=0.05, is_harmed=False)
    text = "not certain: more harm than tolerated is possible"
    assert verdict(found, metric) == (text, "open")


def test_guardrail_whose_interval_is_below_what_is_tolerated_is_fine() -> None:
    metric = MetricReport("refunds", Role.GUARDRAIL, higher_is_better=False)
    effect = EffectReport(0.0, 0.01, -0.02, 0.02)
    found = result(effect, tolerated_harm=0.05, harm_bound=-0.01, is_harmed=False)
    assert verdict(found, metric) == ("within what is tolerated", "fine")
