"""The report of an experiment: what it says, and when it says nothing."""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from hashlib import sha256
from typing import Any

import pytest
from django.db.models import F

from flagstaff import experiments
from flagstaff.exceptions import ConfigurationError, ExperimentError, InvalidExperimentError
from flagstaff.experiments.metrics import Sql
from flagstaff.experiments.models import (
    Experiment,
    ExperimentEvent,
    Exposure,
    LostExposures,
    Phase,
    State,
)
from flagstaff.experiments.results import Analysis
from flagstaff.experiments.statistics import Conversions, compare_proportions
from tests.support.experiment_pages import METRICS, expose, expose_both
from tests.support.terminals import document, flags

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("metrics")]

KEY = "checkout_button"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ARMS = ("control", "treatment")


def no_units() -> Sql:
    return Sql("SELECT nothing AS unit")


def staff() -> Sql:
    return Sql("SELECT 'bot' || number || '+' AS unit FROM generate_series(0, 9999) AS number")


@pytest.fixture
def experiment() -> Experiment:
    experiments.create(KEY)
    experiments.set_metrics(KEY, primary="orders", planned_units=4000)
    return experiments.start(KEY)


@pytest.fixture
def better(experiment: Experiment) -> Experiment:
    expose_both(experiment, (2000, 200), (2000, 320))
    return experiment


@cache
def bucket_of(unit: str) -> int:
    return int(sha256(f"experiment:{KEY}:0:{unit}".encode()).hexdigest(), 16) % 10_000


def meet_by_bucket(
    experiment: Experiment, unit: int, control: int, phase: int, *, knows_buckets: bool
) -> Exposure:
    """The exposure of a unit in a phase with so many buckets of the control, some days ago."""
    bucket = bucket_of(str(unit))
    return Exposure(
        experiment=experiment,
        shuffle=0,
        unit=str(unit),
        variant="control" if bucket < control else "treatment",
        phase=phase,
        bucket=bucket if knows_buckets else None,
        at=datetime.now(timezone.utc) - (10 - 3 * phase) * DAY,
    )


def report_text() -> str:
    return flags("experiment", "report", KEY).out


def verdict() -> dict[str, Any]:
    [found] = experiments.report(KEY)["verdicts"]
    return dict(found)


def result(metric: int = 0) -> dict[str, Any]:
    [found] = experiments.report(KEY)["metrics"][metric]["treatments"]
    return dict(found)


def test_clear_effect_is_better(better: Experiment) -> None:
    assert verdict()["outcome"] == "better"
    found = result()["newest"]
    assert (found["control"], found["treatment"]) == (0.1, 0.16)
    assert 0 < found["difference"]["low"] < 0.06 < found["difference"]["high"]
    last_window = Exposure.objects.latest("at").at + DAY
    assert last_window <= datetime.fromisoformat(found["at"].replace("Z", "+00:00"))
    assert "treatment: the treatment is better" in report_text()
    assert document("experiment", "report", KEY) == experiments.report(KEY)


def test_no_effect_of_a_complete_experiment_is_no_difference(experiment: Experiment) -> None:
    expose_both(experiment, (2000, 200), (2000, 200))
    assert verdict()["outcome"] == "no_difference"


def test_gates_hold_a_verdict_back_but_not_the_harm_of_a_guardrail(experiment: Experiment) -> None:
    expose_both(experiment, (1000, 100), (1000, 300), days=3)
    found = verdict()
    assert found["outcome"] == "too_early"
    assert 1.9 < found["missing_days"] <= 2.0
    assert "A verdict needs 2 more days." in report_text()
    experiments.set_metrics(KEY, guardrails={"complaints": 0.01})
    found = verdict()
    assert (found["outcome"], found["harmed"]) == ("harm", ["complaints"])


def test_report_without_exposures_or_metrics_says_what_is_missing() -> None:
    experiments.create(KEY)
    assert f"Set one: manage.py flags experiment metrics {KEY}" in report_text()
    experiments.set_metrics(KEY, primary="orders", planned_units=4000)
    experiments.start(KEY)
    assert verdict()["outcome"] == "too_early"
    assert "A verdict needs 7 more days and 100 more units in the smaller variant" in report_text()


def test_interval_has_the_corrected_level_with_several_metrics(better: Experiment) -> None:
    alone = result()
    experiments.set_metrics(KEY, others=["revenue"])
    first = result()
    assert (alone["interval_alpha"], first["interval_alpha"]) == (0.05, 0.025)
    assert first["newest"]["difference"]["low"] < alone["newest"]["difference"]["low"]
    assert first["corrected_p_value"] == 2 * alone["p_value"]


def test_fixed_horizon_has_one_look_at_the_planned_size() -> None:
    experiments.create(KEY)
    experiments.set_metrics(KEY, primary="orders", planned_units=2000, method="fixed")
    started = experiments.start(KEY)
    expose_both(started, (900, 60), (900, 160))
    found = verdict()
    assert (found["outcome"], found["missing_units"]) == ("too_early", 200)
    assert result()["looks"]["units"] == []
    assert "A verdict needs 200 more units with a full window." in report_text()
    expose(started, "control", 300, 30, name="c")
    expose(started, "treatment", 300, 30, name="t")
    assert len(result()["looks"]["units"]) == 1
    assert 2000 <= result()["newest"]["units"] < 2100
    assert "look_again_is_not_valid" in verdict()["may_not_conclude"]


def test_one_look_without_enough_values_has_no_result_and_no_other_look() -> None:
    experiments.create(KEY, ["control:9", "treatment:1"])
    experiments.set_metrics(KEY, primary="revenue", planned_units=2000, method="fixed")
    started = experiments.start(KEY)
    expose_both(started, (1820, 36), (200, 4))
    newest = result()["newest"]
    assert (newest["difference"]["low"], newest["p_value"]) == (None, 1.0)
    text = (
        r"no interval: at the one look, treatment needed about \d\d more units with a value other"
    )
    assert re.search(text, report_text())
    found = verdict()
    assert (found["outcome"], found["may_conclude"]) == (
        "undecided",
        ["planned_size_was_too_small"],
    )
    expose(started, "treatment", 20, 20, name="late")
    assert result()["newest"]["p_value"] == 1.0


def test_one_look_at_shares_of_one_phase_is_the_pooled_test() -> None:
    experiments.create(KEY, ["control:9", "treatment:1"])
    experiments.set_metrics(
        KEY, primary="orders", guardrails={"complaints": 0.0}, planned_units=1900, method="fixed"
    )
    expose_both(experiments.start(KEY), (1800, 36), (200, 12))
    [orders, complaints] = (one["treatments"][0] for one in experiments.report(KEY)["metrics"])
    sums = orders["newest"]["phases"][0]
    before, after = (Conversions(sums[arm]["units"], sums[arm]["contributors"]) for arm in ARMS)
    expected = compare_proportions(before, after)
    found = orders["newest"]["difference"]
    assert (found["low"], found["high"]) == (expected.low, expected.high)
    assert orders["p_value"] == expected.p_value
    assert complaints["harm_bound"] == compare_proportions(before, after, 0.1).low


def test_one_look_whose_interval_contains_zero_is_not_significant() -> None:
    experiments.create(KEY)
    experiments.set_metrics(KEY, primary="orders", planned_units=800, method="fixed")
    expose_both(experiments.start(KEY), (400, 24), (400, 39))
    found = result()
    # Near the limit, the pooled test and Newcombe's interval differ. The interval is drawn.
    assert found["p_value"] < 0.05
    assert found["newest"]["difference"]["low"] < 0
    assert (found["is_significant"], found["decided_at"]) == (False, None)
    assert verdict()["outcome"] == "no_difference"


def test_interval_beside_the_lift_is_that_of_the_difference(better: Experiment) -> None:
    newest = result()["newest"]
    scaled = {name: number / newest["control"] for name, number in newest["difference"].items()}
    assert newest["relative_difference"] == scaled
    assert newest["relative_difference"]["value"] == pytest.approx(newest["lift"]["value"])
    low, high = (f"{100 * scaled[bound]:+.4g}" for bound in ("low", "high"))
    assert f"lift +60 ({low} to {high}) %" in report_text()


def test_several_metrics_explain_why_intervals_are_wider(better: Experiment) -> None:
    sentence = "With several metrics, one can look good by chance."
    assert sentence not in report_text()
    experiments.set_metrics(KEY, others=["revenue"])
    assert sentence in report_text()


def test_planned_and_seen_shares_are_those_of_the_units_that_take_part() -> None:
    experiments.create(KEY, ["control", "treatment:3"], traffic_percent=40)
    shares = experiments.report(KEY)["exposures"]
    assert shares["planned_shares"] == pytest.approx({"control": 0.25, "treatment": 0.75})
    assert shares["seen_shares"] == {"control": None, "treatment": None}
    expose_both(experiments.start(KEY), (50, 0), (50, 0))
    shares = experiments.report(KEY)["exposures"]
    assert shares["planned_shares"] == pytest.approx({"control": 0.25, "treatment": 0.75})
    assert shares["seen_shares"] == {"control": 0.5, "treatment": 0.5}
    assert "control: 50 units, planned 25.0%, seen 50.0%" in report_text()


def test_result_without_enough_values_says_how_many_are_missing(experiment: Experiment) -> None:
    expose_both(experiment, (1000, 100), (1000, 4))
    newest = result()["newest"]
    missing = {"variant": "treatment", "what": "with_value", "units": 6}
    assert newest["missing_for_interval"] == [missing]
    text = "no interval yet: treatment needs about 6 more units with a value other than 0"
    assert text in report_text()


def test_small_p_value_is_written_as_a_bound(experiment: Experiment) -> None:
    expose_both(experiment, (2000, 200), (2000, 900))
    assert "p < 0.0001" in report_text()


def test_share_of_visitors_who_never_came_back_is_shown_and_selects_nothing() -> None:
    experiments.create(KEY, bucket_by="visitor")
    experiment = experiments.start(KEY)
    expose_both(experiment, (40, 0), (40, 0))
    units = [f"control{number}" for number in range(30)] + ["treatment1"]
    Exposure.objects.filter(unit__in=units).update(returned=True)
    LostExposures.objects.create(experiment=experiment, count=0, left_out=7)
    counts = experiments.report(KEY)["exposures"]
    assert counts["returned"] == {"control": 30, "treatment": 1}
    assert (counts["units"], counts["left_out"]) == ({"control": 40, "treatment": 40}, 7)
    assert "control: 25.0% of its visitors have not come back; they are included" in report_text()


def test_excluded_units_are_in_no_figure(experiment: Experiment, settings: Any) -> None:
    expose_both(experiment, (1000, 100), (1000, 100))
    expose(experiment, "treatment", 500, 500, name="bot")
    assert verdict()["outcome"] == "mismatch"
    assert result()["newest"] is None
    assert "no verdict: the shares are wrong" in report_text()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXCLUDED_UNITS": {"user": f"{__name__}.staff"}}
    found = experiments.report(KEY)
    assert found["exposures"]["units"] == {"control": 1000, "treatment": 1000}
    assert found["metrics"][0]["units"] == 2000
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXCLUDED_UNITS": {"user": f"{__name__}.no_units"}}
    with pytest.raises(ConfigurationError, match=r"EXCLUDED_UNITS fails: wrong SQL.*42703"):
        experiments.report(KEY)


def test_unit_that_is_forced_after_its_exposure_is_left_out(experiment: Experiment) -> None:
    expose_both(experiment, (200, 20), (200, 20))
    experiments.force(KEY, "control7+", "treatment")
    found = experiments.report(KEY)
    assert found["exposures"]["units"] == {"control": 199, "treatment": 200}
    assert found["metrics"][0]["units"] == 399


def test_changed_weights_are_analysed_by_phase(experiment: Experiment) -> None:
    # Simpson: the treatment loses by 5 points in each phase, and would win if phases were mixed.
    experiments.set_weights(KEY, {"treatment": 9})
    # Those of the control that the change moved are left out already.
    expose(experiment, "control", 180, 90, phase=1)
    expose(experiment, "treatment", 900, 405, phase=1, name="t1")
    expose(experiment, "control", 100, 20, phase=2, name="c2")
    expose(experiment, "treatment", 900, 135, phase=2, name="t2")
    Phase.objects.filter(number=2).update(started_at=datetime.now(timezone.utc) - 9 * DAY)
    difference = result()["newest"]["difference"]["value"]
    assert difference == pytest.approx(-0.05, abs=0.01)


@pytest.mark.parametrize("knows_buckets", [True, False])
def test_units_that_changed_weights_moved_are_left_out_whether_they_return_or_not(
    experiment: Experiment, knows_buckets: bool
) -> None:
    rng = random.Random(7)
    meet = partial(meet_by_bucket, experiment, knows_buckets=knows_buckets)
    phase_1 = [meet(unit, 5000, 1) for unit in range(6000)]
    experiments.set_weights(KEY, {"treatment": 3})
    returning = [unit for unit in range(6000) if rng.random() < 0.4]
    phase_2 = [meet(unit, 2500, 2) for unit in (*returning, *range(6000, 9000))]
    Exposure.objects.bulk_create(phase_1)
    # As workers write them: a unit stays as it was, unless it meets another variant.
    Exposure.objects.bulk_create(phase_2, ignore_conflicts=True)
    found = experiments.report(KEY)
    # Without the buckets, the control has lost those who return, and only those.
    assert found["has_mismatch"] is not knows_buckets
    counts = found["exposures"]
    moved = [one for one in phase_1 if 2500 <= bucket_of(one.unit) < 5000]
    met_two = [one for one in moved if int(one.unit) in set(returning)]
    assert counts["met_two_variants"] == len(met_two)
    assert counts["moved"] == (len(moved) - len(met_two) if knows_buckets else 0)
    assert found["metrics"][0]["units"] == (sum(counts["units"].values()) if knows_buckets else 0)


def test_first_phase_of_few_units_leaves_a_result(experiment: Experiment) -> None:
    expose(experiment, "control", 20, 2, name="a")
    expose(experiment, "treatment", 20, 3, name="b")
    Exposure.objects.update(at=F("at") - 20 * DAY)
    experiments.set_weights(KEY, traffic_percent=50)
    expose_both(experiment, (2000, 200), (2000, 320), phase=2)
    found = result()["newest"]
    assert found["units"] == 4000
    assert found["difference"]["low"] > 0
    assert verdict()["outcome"] == "better"


def test_units_of_the_present_hour_are_counted_apart(experiment: Experiment) -> None:
    now = datetime.now(timezone.utc)
    Exposure.objects.create(
        experiment=experiment, shuffle=0, unit="1", variant="control", phase=1, at=now
    )
    found = experiments.report(KEY)["exposures"]
    assert (found["units"]["control"], found["present_hour"]["control"]) == (0, 1)


def test_shipping_freezes_the_report_with_its_end(better: Experiment) -> None:
    before = experiments.report(KEY)
    experiments.ship(KEY, "treatment")
    Exposure.objects.all().delete()
    after = experiments.report(KEY)
    assert after["ended_at"]
    assert [phase["ended_at"] for phase in after["phases"]] == [after["ended_at"]]
    assert (after["state"], after["winner"]) == ("shipped", "treatment")
    same = ("metrics", "exposures", "verdicts", "settings")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert f"This report was frozen at {after['frozen_at']}." in report_text()


def test_failing_metric_is_a_row_with_its_error_beside_the_others(better: Experiment) -> None:
    experiments.set_metrics(KEY, others=["leaking"], guardrails={"complaints": 0.1})
    found = experiments.report(KEY)
    assert verdict()["outcome"] == "better"
    # Corrected as if it did not fail.
    assert result()["interval_alpha"] == 0.025
    assert [bool(one["error"]) for one in found["metrics"]] == [False, True, False]
    leaking = found["metrics"][1]
    error = "data exception, such as text where a number is expected (SQLSTATE 22P02)"
    assert (leaking["metric"], leaking["treatments"]) == ("leaking", [])
    assert leaking["error"] == error
    assert f"leaking (other) fails: {error}" in report_text()
    assert "private" not in str(found) + report_text()
    assert experiments.ship(KEY, "treatment").state == State.SHIPPED


def test_failing_primary_metric_leaves_no_verdict_and_no_report_to_ship(
    better: Experiment, settings: Any
) -> None:
    experiments.set_metrics(KEY, others=["revenue"])
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    found = experiments.report(KEY)
    assert found["verdicts"] == []
    assert found["metrics"][1]["treatments"][0]["newest"]["units"] == 4000
    assert "There is no verdict: the metric orders fails: data exception" in report_text()
    problem = "cannot be stored: the metric orders fails: data exception.*--no-report"
    with pytest.raises(ExperimentError, match=f"(?s){problem}"):
        experiments.ship(KEY, "treatment")
    assert experiments.ship(KEY, "treatment", with_report=False).state == State.SHIPPED


def test_failed_guardrail_leaves_no_verdict_and_no_report_to_ship(better: Experiment) -> None:
    experiments.set_metrics(KEY, guardrails={"leaking": 0.1, "complaints": 0.2})
    found = verdict()
    assert (found["outcome"], found["failed"]) == ("guardrail_failed", ["leaking"])
    assert result()["newest"]["units"] == 4000
    needs = "A verdict needs the guardrail leaking, which cannot be computed. Correct its query."
    assert needs in report_text()
    with pytest.raises(ExperimentError, match="cannot be stored: the metric leaking fails"):
        experiments.ship(KEY, "treatment")
    assert "the metric leaking fails" in flags("experiment", "ship", KEY, "treatment", "--yes").err
    assert Experiment.objects.get().state == State.RUNNING


def test_started_experiment_keeps_what_results_depend_on() -> None:
    changes: list[dict[str, Any]] = [
        {"guardrails": {"revenue": 0.5}},
        {"guardrails": {"broken": 0.1}},
        {"guardrails": {}},
        {"primary": "revenue"},
        {"others": []},
        {"method": "fixed"},
        {"planned_units": 9},
        {"smallest_effect": 0.5},
    ]
    roles: dict[str, Any] = {"primary": "orders", "others": ["complaints"]}
    experiments.create(KEY)
    for change in changes:
        experiments.set_metrics(KEY, **change)
    experiments.set_metrics(KEY, **roles, guardrails={"revenue": 0.1})
    text = "primary metric orders; other metrics complaints; guardrails revenue (0.1)"
    assert ExperimentEvent.objects.latest("id").message == f"analysis: {text}"
    experiments.set_metrics(KEY, method="sequential", planned_units=10_000, smallest_effect=0.1)
    text = "method sequential; planned units 10,000; smallest effect 0.1"
    assert ExperimentEvent.objects.latest("id").message == f"analysis: {text}"
    experiments.start(KEY)
    for change in changes:
        with pytest.raises(ExperimentError, match="has started, so its"):
            experiments.set_metrics(KEY, **change)
    another = {"revenue": 0.1, "broken": 0.2}
    assert experiments.set_metrics(KEY, guardrails=another).guardrails == another


def test_metric_that_is_unknown_or_of_another_unit_is_refused() -> None:
    experiments.create(KEY, bucket_by="company")
    with pytest.raises(InvalidExperimentError, match="has no metric 'other'; it has orders"):
        experiments.set_metrics(KEY, primary="other")
    with pytest.raises(InvalidExperimentError, match=r'orders: .* with unit="company"'):
        experiments.set_metrics(KEY, primary="orders")


def test_plan_of_two_variants_has_their_part_of_the_planned_units() -> None:
    assert Analysis(["a", "b"], 4000).plan.units == 4000
    assert Analysis(["a", "b", "c", "d"], 4000).plan.units == 2000
