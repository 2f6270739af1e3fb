"""The report of an experiment: what it says, and when it says nothing."""

import json
from datetime import datetime, timedelta, timezone
from functools import partial
from threading import Event
from typing import Any

import pytest

from flagstaff import experiments
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments import jobs
from flagstaff.experiments.jobs import store_verdicts
from flagstaff.experiments.measuring import plan_of
from flagstaff.experiments.metrics import Mean, Sql
from flagstaff.experiments.models import Experiment, Exposure, LostExposures, State, StoredVerdict
from flagstaff.experiments.reporting import make_report, read_report
from tests.support.experiments import DAY, KEY, METRICS, expose, expose_both, newest_event
from tests.support.shop import Shop
from tests.support.sql import rows
from tests.support.terminals import flags

no_units = partial(Sql, "SELECT nothing AS unit")
staff = partial(
    Sql, "SELECT 'bot' || number || '+' AS unit FROM generate_series(0, 9999) AS number"
)
endless_units = partial(Sql, "SELECT pg_sleep(60)::text AS unit")
endless = Mean(
    partial(Sql, "SELECT pg_sleep(60)::text AS unit, 1::float8 AS value, now() AS time"), window=DAY
)


def report_text() -> str:
    return flags("experiment", "report", KEY).out


def verdict() -> dict[str, Any]:
    [newest] = experiments.report(KEY)["verdicts"]
    return dict(newest)


def result(metric: int = 0) -> dict[str, Any]:
    [treatment] = experiments.report(KEY)["metrics"][metric]["treatments"]
    return dict(treatment)


def test_gates_hold_a_verdict_back_but_not_the_harm_of_a_guardrail(running: Experiment) -> None:
    expose_both(running, (1000, 100), (1000, 300), days=3)
    newest = verdict()
    assert newest["outcome"] == "too_early"
    assert 1.9 < newest["missing_days"] <= 2.0
    assert "A verdict needs 2 more days." in report_text()
    Experiment.objects.update(guardrails={"complaints": 0.01})
    newest = verdict()
    assert (newest["outcome"], newest["harmed"]) == ("harm", ["complaints"])


def test_report_without_exposures_or_metrics_says_what_is_missing() -> None:
    experiments.create(KEY)
    assert f"Set one: manage.py flags experiment edit {KEY}" in report_text()
    experiments.edit(KEY, primary="orders", planned_units=4000)
    experiments.start(KEY)
    assert verdict()["outcome"] == "too_early"
    assert "A verdict needs 7 more days and 100 more units in the smaller variant" in report_text()


def test_terminal_prints_the_verdict_the_metrics_and_the_units(better: Experiment) -> None:
    Experiment.objects.update(guardrails={"complaints": 0.2})
    LostExposures.objects.create(experiment=better, count=1_234, left_out=7)
    newest = result()["newest"]
    scaled = {name: number / newest["control"] for name, number in newest["difference"].items()}
    assert newest["relative_difference"] == scaled
    low, high = (f"+{100 * scaled[bound]:.1f} %" for bound in ("low", "high"))
    lines = report_text().splitlines()
    assert lines[:6:2] == [
        (
            "Exposures lost, because too many waited in a worker: 1,234. Their units may be "
            "recorded later."
        ),
        "New visitors left out, because a worker reached NEW_VISITORS_PER_HOUR: 7.",
        "treatment: the treatment is better",
    ]
    metric = lines.index(
        "orders · primary metric · a customer has paid · 4,000 units observed for the full 1 d"
    )
    assert lines[metric + 1] == (
        f"  treatment: 10.0 % → 16.0 %, +60.0 % · 95 % interval: {low} to {high}, p < 0.0001: "
        "better, significant"
    )
    assert lines[metric + 3].endswith("; tolerated: 20.0, \N{EN DASH}: within what is tolerated")
    assert lines[-3:] == [
        "control: planned 50.0 %, seen 50.0 %, units 2,000, expected 2,000",
        "treatment: planned 50.0 %, seen 50.0 %, units 2,000, expected 2,000",
        "The shares are as expected: p = 1.0000, valid however often you look.",
    ]


def test_share_of_visitors_who_never_came_back_is_shown_and_selects_nothing() -> None:
    experiments.create(KEY, bucket_by="visitor")
    expose_both(experiments.start(KEY), (40, 0), (40, 0))
    units = [f"control{number}" for number in range(30)] + ["treatment1"]
    Exposure.objects.filter(unit__in=units).update(returned=True)
    counts = experiments.report(KEY)["exposures"]
    assert counts["returned"] == {"control": 30, "treatment": 1}
    assert counts["units"] == {"control": 40, "treatment": 40}
    assert (
        "control: planned 50.0 %, seen 50.0 %, units 40, expected 40, never came back 25.0 %"
        in (report_text())
    )


def test_excluded_units_are_in_no_figure(running: Experiment, settings: Any) -> None:
    expose_both(running, (1000, 100), (1000, 100))
    expose(running, "treatment", 500, 500, name="bot")
    assert verdict()["outcome"] == "mismatch"
    assert result()["newest"] is None
    text = report_text()
    assert "no verdict: the shares are wrong" in text
    assert "orders" not in text
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXCLUDED_UNITS": {"user": f"{__name__}.staff"}}
    report = experiments.report(KEY)
    assert report["exposures"]["units"] == {"control": 1000, "treatment": 1000}
    assert report["metrics"][0]["units"] == 2000
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "EXCLUDED_UNITS": {"user": f"{__name__}.no_units"}}
    with pytest.raises(ConfigurationError, match=r"EXCLUDED_UNITS fails: wrong SQL.*42703"):
        experiments.report(KEY)


def test_unit_that_is_forced_after_its_exposure_is_left_out(running: Experiment) -> None:
    expose_both(running, (200, 20), (200, 20))
    experiments.force(KEY, "control7+", "treatment")
    report = experiments.report(KEY)
    assert report["exposures"]["units"] == {"control": 199, "treatment": 200}
    assert report["metrics"][0]["units"] == 399


def test_units_of_the_present_hour_are_counted_apart(running: Experiment) -> None:
    now = datetime.now(timezone.utc)
    Exposure.objects.create(experiment=running, run=0, unit="1", variant="control", at=now)
    exposures = experiments.report(KEY)["exposures"]
    assert (exposures["units"]["control"], exposures["present_hour"]["control"]) == (0, 1)


def test_shipping_freezes_the_report_with_its_end(better: Experiment) -> None:
    before = experiments.report(KEY)
    experiments.ship(KEY, "treatment")
    Exposure.objects.all().delete()
    after = experiments.report(KEY)
    assert after["ended_at"]
    assert (after["state"], after["winner"]) == ("shipped", "treatment")
    assert (after["metrics"], after["exposures"]) == (before["metrics"], before["exposures"])
    assert (after["verdicts"], after["settings"]) == (before["verdicts"], before["settings"])
    assert "This report was kept as it was on " in report_text()


def test_failing_metric_is_a_row_with_its_error_beside_the_others(better: Experiment) -> None:
    Experiment.objects.update(other_metrics=["leaking"], guardrails={"complaints": 0.1})
    report = experiments.report(KEY)
    assert verdict()["outcome"] == "better"
    # Corrected as if it did not fail.
    assert result()["interval_alpha"] == 0.025
    assert [bool(metric["error"]) for metric in report["metrics"]] == [False, True, False]
    leaking = report["metrics"][1]
    error = "data exception, such as text where a number is expected (SQLSTATE 22P02)"
    assert (leaking["metric"], leaking["treatments"]) == ("leaking", [])
    assert leaking["error"] == error
    assert f"leaking · other metric fails: {error}" in report_text()
    assert "private" not in str(report) + report_text()
    assert experiments.ship(KEY, "treatment").state == State.SHIPPED


def test_failing_primary_metric_leaves_no_verdict_and_stores_no_report(
    better: Experiment, settings: Any
) -> None:
    Experiment.objects.update(other_metrics=["revenue"])
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    report = experiments.report(KEY)
    assert report["verdicts"] == []
    assert result(1)["newest"]["units"] == 4000
    assert "There is no verdict: the metric orders fails: data exception" in report_text()
    shipped = experiments.ship(KEY, "treatment")
    assert (shipped.state, shipped.frozen_report) == (State.SHIPPED, None)
    event = newest_event().message
    assert "; no report is stored: the metric orders fails: data exception" in event


def test_failed_guardrail_leaves_no_verdict(better: Experiment) -> None:
    Experiment.objects.update(guardrails={"leaking": 0.1, "complaints": 0.2})
    newest = verdict()
    assert (newest["outcome"], newest["failed"]) == ("guardrail_failed", ["leaking"])
    assert result()["newest"]["units"] == 4000
    needs = "A verdict needs these guardrails, which cannot be computed: leaking."
    assert needs in report_text()


def test_no_difference_needs_an_interval_within_the_smallest_effect(running: Experiment) -> None:
    expose_both(running, (2000, 200), (2000, 202))
    assert verdict()["undecided_units"] is None
    assert "Without a smallest effect that matters, there is never" in report_text()
    Experiment.objects.update(smallest_effect=0.02)
    newest = verdict()
    assert newest["outcome"] == "undecided"
    units = f"{newest['undecided_units']:,}"
    assert f"With about {units} more units, four of five experiments without" in report_text()
    Experiment.objects.update(smallest_effect=0.031)
    newest = verdict()
    assert (newest["outcome"], newest["undecided_units"]) == ("no_difference", None)
    # Corrected for more metrics, the interval is wider.
    Experiment.objects.update(other_metrics=["revenue"])
    assert verdict()["outcome"] == "undecided"


def test_undecided_experiment_without_an_interval_names_no_units(running: Experiment) -> None:
    expose_both(running, (200, 5), (200, 5))
    Experiment.objects.update(smallest_effect=0.02)
    assert (verdict()["outcome"], verdict()["undecided_units"]) == ("undecided", None)
    assert "smallest" not in report_text()


def test_guardrails_share_the_certainty_of_a_stop(running: Experiment) -> None:
    expose_both(running, (2000, 200), (2000, 255))
    Experiment.objects.update(guardrails={"complaints": 0.0})
    assert verdict()["outcome"] == "harm"
    Experiment.objects.update(guardrails={"complaints": 0.0, "revenue": 0.0, "broken": 0.0})
    assert verdict()["outcome"] == "guardrail_failed"
    [[complaints]] = [
        metric["treatments"]
        for metric in experiments.report(KEY)["metrics"]
        if metric["metric"] == "complaints"
    ]
    assert (complaints["is_harmed"], complaints["is_stopping"]) == (True, False)
    assert complaints["stop_alpha"] == pytest.approx(0.05 / 3)
    text = report_text()
    assert "worse by more than is tolerated, not certain enough to stop" in text
    assert "A guardrail is worse at 5.00 %, and stops at 1.67 %: all guardrails" in text


@pytest.mark.parametrize(("control", "is_stopping"), [(19, False), (20, True)])
def test_stop_of_several_guardrails_needs_twice_the_conversions(
    running: Experiment, control: int, *, is_stopping: bool
) -> None:
    expose_both(running, (2000, control), (2000, 90))
    Experiment.objects.update(guardrails={"complaints": 0.0})
    assert verdict()["outcome"] == "harm"
    Experiment.objects.update(guardrails={"complaints": 0.0, "revenue": 100.0})
    [complaints] = next(
        metric["treatments"]
        for metric in experiments.report(KEY)["metrics"]
        if metric["metric"] == "complaints"
    )
    assert (complaints["is_harmed"], complaints["is_stopping"]) == (True, is_stopping)


# What may change after the start.


def add_metric_days_ago(metric: str, days: int, **more: Any) -> None:
    experiment = experiments.add_metric(KEY, metric, **more)
    at = datetime.now(timezone.utc) - days * DAY
    added = {**experiment.added_metrics, metric: at.isoformat()}
    Experiment.objects.update(added_metrics=added)


def test_added_metric_counts_only_units_that_were_exposed_after_it(better: Experiment) -> None:
    add_metric_days_ago("revenue", 7)
    orders, revenue = experiments.report(KEY)["metrics"]
    since = datetime.now(timezone.utc) - 7 * DAY
    later = Exposure.objects.filter(at__gte=since).count()
    assert (orders["units"], orders["added_on_day"]) == (4000, None)
    assert (revenue["units"], revenue["added_on_day"]) == (later, 6)
    assert 0 < later < 4000
    assert "revenue · other metric · added on day 6 · " in report_text()


def test_unit_that_was_exposed_before_a_metric_and_again_after_it_is_not_counted(
    running: Experiment,
) -> None:
    at = datetime.now(timezone.utc) - 5 * DAY
    # It met its variant before, and another worker has written it again.
    Exposure.objects.create(experiment=running, run=0, unit="1+", variant="control", at=at)
    Exposure.objects.create(
        experiment=running, run=0, unit="2+", variant="control", at=at + 2 * DAY
    )
    add_metric_days_ago("revenue", 4)
    assert [metric["units"] for metric in experiments.report(KEY)["metrics"]] == [2, 1]


def test_added_metric_is_in_the_correction_and_leaves_raw_p_values(better: Experiment) -> None:
    before = result()
    experiments.add_metric(KEY, "revenue")
    after = result()
    assert after["p_value"] == before["p_value"]
    assert after["corrected_p_value"] == 2 * before["p_value"]
    assert after["interval_alpha"] == 0.025
    # A guardrail is not in it.
    experiments.add_metric(KEY, "complaints", tolerated=0.01)
    assert result()["corrected_p_value"] == after["corrected_p_value"]
    assert experiments.report(KEY)["metrics"][2]["role"] == "guardrail"


def test_metric_whose_query_exceeds_the_time_limit_is_not_known(
    better: Experiment, settings: Any
) -> None:
    Experiment.objects.update(other_metrics=["revenue"])
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "revenue": f"{__name__}.endless"}
    rows("SET LOCAL statement_timeout = 2000")
    report = experiments.report(KEY)
    assert [metric["error"] for metric in report["metrics"]] == [
        None,
        "a time limit ended its query, so its results are not known",
    ]
    # Corrected as if it had results.
    assert result()["interval_alpha"] == 0.025
    assert verdict()["outcome"] == "better"


def test_counts_that_exceed_the_time_limit_leave_no_report(
    better: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF["EXCLUDED_UNITS"] = {"user": f"{__name__}.endless_units"}
    rows("SET LOCAL statement_timeout = 200")
    report, problem = read_report(better)
    rows("SET LOCAL statement_timeout = 0")
    assert report is None
    assert "such as a time limit" in problem


def test_plan_of_two_variants_has_their_part_of_the_planned_units() -> None:
    experiment = Experiment(planned_units=4000, variants=["a", "b"])
    assert plan_of(experiment).units == 4000
    experiment.variants = ["a", "b", "c", "d"]
    assert plan_of(experiment).units == 2000


# The job that computes the verdicts on running experiments.


def stored_verdict() -> StoredVerdict:
    return StoredVerdict.objects.get(experiment__key=KEY)


def run() -> list[str]:
    """The keys of the experiments for which a run has stored a verdict."""
    return [report.experiment for report in store_verdicts(Event())]


def test_verdict_is_stored_with_its_time_and_run(running: Experiment) -> None:
    expose_both(running, (2000, 200), (2000, 320))
    before = datetime.now(timezone.utc)
    [report] = store_verdicts(Event())
    newest = stored_verdict()
    assert (newest.outcomes, newest.problem, newest.run) == ({"treatment": "better"}, "", 0)
    assert before <= newest.at <= datetime.now(timezone.utc)
    assert not report.is_news
    assert (report.experiment, report.outcomes) == (KEY, {"treatment": "better"})


def test_wrong_shares_are_stored_even_if_the_metric_fails(
    running: Experiment, settings: Any
) -> None:
    expose_both(running, (2000, 200), (1500, 150))
    settings.FLAGSTAFF["METRICS"] = {}
    run()
    assert (stored_verdict().outcomes, stored_verdict().problem) == ({"treatment": "mismatch"}, "")


def test_verdict_is_computed_once_an_hour_for_each_run_of_an_experiment_that_runs(
    running: Experiment,
) -> None:
    def wait_an_hour() -> None:
        StoredVerdict.objects.update(at=datetime.now(timezone.utc) - timedelta(hours=1))

    assert (run(), run()) == ([KEY], [])
    wait_an_hour()
    assert run() == [KEY]
    Experiment.objects.update(run=2)
    assert (run(), stored_verdict().run) == ([KEY], 2)
    wait_an_hour()
    experiments.stop(KEY)
    assert run() == []


def test_run_jobs_prints_the_verdicts_that_it_has_computed(running: Experiment) -> None:
    [stored] = json.loads(flags("run-jobs", "--json").out)["verdicts"]
    assert (stored["experiment"], stored["outcomes"]) == (KEY, {"treatment": "too_early"})
    assert "verdicts" not in json.loads(flags("run-jobs", "--json").out)


def test_metric_that_fails_is_stored_as_the_problem(running: Experiment, settings: Any) -> None:
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    [report] = store_verdicts(Event())
    assert stored_verdict().outcomes == {}
    assert stored_verdict().problem.startswith("the metric orders fails: ")
    assert "private@person" not in stored_verdict().problem
    assert (report.is_news, report.problem, report.error) == (True, stored_verdict().problem, None)


def test_error_of_one_experiment_does_not_stop_the_others(
    shop: Shop, running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.experiment("other")

    def fail_once(experiment: Experiment, now: Any) -> Any:
        if experiment.key == KEY:
            raise ValueError("private")
        return make_report(experiment, now)

    monkeypatch.setattr(jobs, "make_report", fail_once)
    reports = store_verdicts(Event())
    errors = {report.experiment: report.error for report in reports}
    assert errors == {KEY: "ValueError", "other": None}
    assert stored_verdict().problem == "ValueError"


def test_experiment_that_sql_has_broken_does_not_stop_the_others(
    shop: Shop, running: Experiment
) -> None:
    Experiment.objects.update(variants=[5])
    shop.experiment("other")
    assert run() == [KEY, "other"]
    assert stored_verdict().problem.startswith("the experiment cannot be read: the column variants")
    assert StoredVerdict.objects.get(experiment__key="other").problem == ""


def test_run_stops_after_five_seconds_and_the_next_one_continues(
    shop: Shop, running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.experiment("other")
    clock = iter([0.0, 0.0, 5.0, 6.0, 6.0, 6.0])
    monkeypatch.setattr(jobs, "monotonic", lambda: next(clock))
    assert run() == [KEY]
    stop = Event()
    stop.set()
    assert store_verdicts(stop) == []
    assert run() == ["other"]
