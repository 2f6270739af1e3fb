"""Stops, other winners, and their undo: the way back from every state of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flagstaff import acting_as, changes, experiments
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from tests.support.concurrency import run_during
from tests.support.experiment_pages import expose_both
from tests.support.fixtures import COMMITTED
from tests.support.segment_rules import rules

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("metrics")]

KEY = "checkout_button"


@pytest.fixture
def running() -> Experiment:
    experiments.create(KEY)
    experiments.edit(KEY, primary="orders", planned_units=4000)
    experiment = experiments.start(KEY)
    expose_both(experiment, (200, 20), (200, 30))
    return experiment


@pytest.fixture
def shipped(running: Experiment) -> Experiment:
    return experiments.ship(KEY, "treatment")


def stored() -> Experiment:
    return Experiment.objects.get(key=KEY)


def newest_event() -> ExperimentEvent:
    return ExperimentEvent.objects.latest("id")


def test_undo_of_a_stop_runs_with_all_exposures(running: Experiment) -> None:
    experiments.stop(KEY)
    with acting_as("ana", reason="wrong experiment"):
        experiments.undo(KEY)
    found = stored()
    assert (found.state, found.run, found.ended_at) == (State.RUNNING, 0, None)
    assert experiments.report(KEY)["exposures"]["units"] == {"control": 200, "treatment": 200}
    event = newest_event()
    assert (event.kind, event.actor, event.reason) == ("undone", "ana", "wrong experiment")
    assert event.message == (
        "undone: “stopped: every call returns its default”; it is running again, with all exposures"
    )


@pytest.mark.parametrize("change", [experiments.start, experiments.restart])
def test_undo_is_refused_if_something_else_happened_since(change: Any, running: Any) -> None:
    experiments.stop(KEY)
    change(KEY)
    last = newest_event().message
    with pytest.raises(ExperimentError) as refused:
        experiments.undo(KEY)
    assert str(refused.value) == (
        f"{KEY} cannot be undone: only a stop or a ship can, but the last change is “{last}”. "
        "Start, stop or ship it instead"
    )


def test_change_that_would_close_the_way_back_to_a_shipped_experiment_is_refused(
    shipped: Experiment,
) -> None:
    experiments.stop(KEY)
    changes_of_the_run: list[Callable[[], object]] = [
        lambda: experiments.start(KEY),
        lambda: experiments.restart(KEY),
        lambda: experiments.grow(KEY, 100),
        lambda: experiments.add_metric(KEY, "revenue"),
    ]
    for change in changes_of_the_run:
        with pytest.raises(ExperimentError, match="its report is stored; undo what was done last"):
            change()
    experiments.undo(KEY)
    assert experiments.undo(KEY).state == State.RUNNING


@COMMITTED
def test_ship_is_refused_if_the_experiment_changes_while_its_report_is_made(
    running: Experiment,
) -> None:
    with pytest.raises(ExperimentError, match="was changed while its report was made; ship it"):
        run_during(
            lambda: experiments.restart(KEY, traffic_percent=40),
            lambda: experiments.ship(KEY, "treatment"),
        )
    assert (stored().state, stored().run) == (State.RUNNING, 1)


def test_undo_to_running_is_refused_after_the_exposures_were_deleted(shipped: Experiment) -> None:
    assert experiments.prune(timedelta(0)) == 400
    report = stored().frozen_report
    with pytest.raises(ExperimentError, match="its exposures were deleted"):
        experiments.undo(KEY)
    experiments.stop(KEY)
    with pytest.raises(ExperimentError, match="its exposures were deleted"):
        experiments.start(KEY)
    experiments.undo(KEY)
    assert (stored().winner, stored().frozen_report) == ("treatment", report)


def test_report_of_deleted_exposures_is_kept_by_a_ship(running: Experiment) -> None:
    experiments.stop(KEY)
    experiments.prune(timedelta(0))
    before = stored().frozen_report
    experiments.ship(KEY, "treatment")
    assert stored().frozen_report == before


def test_undo_to_running_is_refused_without_a_segment_of_the_rules(running: Experiment) -> None:
    changes.segments.create("big", [{"attribute": "plan", "operator": "in", "values": ["pro"]}])
    Experiment.objects.update(rules=rules("big"))
    experiments.ship(KEY, "treatment")
    changes.segments.delete("big")
    with pytest.raises(ExperimentError, match="'big'"):
        experiments.undo(KEY)
    assert stored().state == State.SHIPPED
