"""The job of run-jobs that computes the verdicts on running experiments."""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.utils import timezone

from flagstaff import experiments
from flagstaff.experiments import jobs
from flagstaff.experiments.jobs import store_verdicts
from flagstaff.experiments.models import Experiment, StoredVerdict
from flagstaff.experiments.reporting import make_report
from tests.support.experiment_pages import KEY, METRICS, expose_both
from tests.support.terminals import flags

pytestmark = pytest.mark.django_db


def run() -> list[str]:
    """The keys of the experiments for which a run has stored a verdict."""
    return [report.experiment for report in store_verdicts(Event())]


def verdict() -> StoredVerdict:
    return StoredVerdict.objects.get(experiment__key=KEY)


def test_verdict_is_stored_with_its_time_and_run(running: Experiment) -> None:
    expose_both(running, (2000, 200), (2000, 320))
    before = timezone.now()
    [report] = store_verdicts(Event())

    found = verdict()
    assert (found.outcomes, found.problem, found.run) == ({"treatment": "better"}, "", 0)
    assert before <= found.at <= timezone.now()
    assert not report.is_news
    assert (report.experiment, report.outcomes) == (KEY, {"treatment": "better"})


def test_wrong_shares_are_stored_even_if_the_metric_fails(
    running: Experiment, settings: Any
) -> None:
    expose_both(running, (2000, 200), (1500, 150))
    settings.FLAGSTAFF["METRICS"] = {}
    run()

    assert (verdict().outcomes, verdict().problem) == ({"treatment": "mismatch"}, "")


def test_verdict_is_computed_once_an_hour_for_each_run_of_an_experiment_that_runs(
    running: Experiment,
) -> None:
    def wait_an_hour() -> None:
        StoredVerdict.objects.update(at=timezone.now() - timedelta(hours=1))

    assert (run(), run()) == ([KEY], [])
    wait_an_hour()
    assert run() == [KEY]
    Experiment.objects.update(run=2)
    assert (run(), verdict().run) == ([KEY], 2)
    wait_an_hour()
    experiments.stop(KEY)
    assert run() == []


def test_run_jobs_prints_the_verdicts_that_it_has_computed(running: Experiment) -> None:
    [found] = json.loads(flags("run-jobs", "--json").out)["verdicts"]
    assert (found["experiment"], found["outcomes"]) == (KEY, {"treatment": "too_early"})
    assert "verdicts" not in json.loads(flags("run-jobs", "--json").out)


def test_metric_that_fails_is_stored_as_the_problem(running: Experiment, settings: Any) -> None:
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    [report] = store_verdicts(Event())

    assert verdict().outcomes == {}
    assert verdict().problem.startswith("the metric orders fails: ")
    assert "private@person" not in verdict().problem
    assert (report.is_news, report.problem, report.error) == (True, verdict().problem, None)


def test_error_of_one_experiment_does_not_stop_the_others(
    running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments.create("other")
    experiments.start("other")

    def fail_once(experiment: Experiment, now: Any) -> Any:
        if experiment.key == KEY:
            raise ValueError("private")
        return make_report(experiment, now)

    monkeypatch.setattr(jobs, "make_report", fail_once)
    reports = store_verdicts(Event())
    errors = {report.experiment: report.error for report in reports}
    assert errors == {KEY: "ValueError", "other": None}
    assert verdict().problem == "ValueError"


def test_experiment_that_sql_has_broken_does_not_stop_the_others(running: Experiment) -> None:
    Experiment.objects.update(variants=[5])
    experiments.create("other")
    experiments.start("other")
    assert run() == [KEY, "other"]
    assert verdict().problem.startswith("the experiment cannot be read: the column variants")
    assert StoredVerdict.objects.get(experiment__key="other").problem == ""


def test_run_stops_after_five_seconds_and_the_next_one_continues(
    running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments.create("other")
    experiments.start("other")
    clock = iter([0.0, 0.0, 5.0, 6.0, 6.0, 6.0])
    monkeypatch.setattr(jobs, "monotonic", lambda: next(clock))

    assert run() == [KEY]
    stop = Event()
    stop.set()
    assert store_verdicts(stop) == []
    assert run() == ["other"]
