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


def stored() -> StoredVerdict:
    return StoredVerdict.objects.get(experiment__key=KEY)


def test_verdict_is_stored_with_its_time_and_run(running: Experiment) -> None:
    expose_both(running, (2000, 200), (2000, 320))
    before = timezone.now()
    [report] = store_verdicts(Event())

    assert (stored().outcomes, stored().problem, stored().run) == ({"treatment": "better"}, "", 0)
    assert before <= stored().at <= timezone.now()
    assert (report.is_news, report.fields) == (False, (KEY, "treatment: better"))


def test_wrong_shares_are_stored_even_if_the_metric_fails(
    running: Experiment, settings: Any
) -> None:
    expose_both(running, (2000, 200), (1500, 150))
    settings.FLAGSTAFF["METRICS"] = {}
    run()

    assert (stored().outcomes, stored().problem) == ({"treatment": "mismatch"}, "")


def test_verdict_is_computed_once_an_hour(running: Experiment) -> None:
    assert run() == [KEY]
    assert run() == []
    StoredVerdict.objects.update(at=timezone.now() - timedelta(hours=1))
    assert run() == [KEY]


def test_run_jobs_prints_the_verdicts_that_it_has_computed(running: Experiment) -> None:
    [verdict] = json.loads(flags("run-jobs", "--json").out)["verdicts"]
    assert (verdict["experiment"], verdict["outcomes"]) == (KEY, {"treatment": "too_early"})
    assert "verdicts" not in json.loads(flags("run-jobs", "--json").out)


def test_verdict_is_computed_again_for_a_new_run(running: Experiment) -> None:
    run()
    Experiment.objects.update(run=2)

    assert run() == [KEY]
    assert stored().run == 2


def test_experiment_that_does_not_run_has_no_verdict(running: Experiment) -> None:
    experiments.stop(KEY)

    assert run() == []


def test_metric_that_fails_is_stored_as_the_problem(running: Experiment, settings: Any) -> None:
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    [report] = store_verdicts(Event())

    assert stored().outcomes == {}
    assert stored().problem.startswith("the metric orders fails: ")
    assert "private@person" not in stored().problem
    assert (report.is_news, report.problem, report.error) == (True, stored().problem, None)


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
    assert stored().problem == "ValueError"


def test_run_stops_after_five_seconds_and_the_next_one_continues(
    running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments.create("other")
    experiments.start("other")
    clock = iter([0.0, 0.0, 5.0, 6.0, 6.0])
    monkeypatch.setattr(jobs, "monotonic", lambda: next(clock))

    assert run() == [KEY]
    assert run() == ["other"]


def test_stopped_run_begins_no_experiment(running: Experiment) -> None:
    stop = Event()
    stop.set()

    assert store_verdicts(stop) == []
