"""Stops, other winners, and their undo: the way back from every state of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flagstaff import acting_as, changes, experiments
from flagstaff.exceptions import ExperimentError
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, State
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


def test_stop_of_a_shipped_experiment_gives_the_default_and_keeps_the_report(
    shipped: Experiment,
) -> None:
    experiments.stop(KEY)
    found = stored()
    assert (found.state, found.winner, found.frozen_report) == (
        State.STOPPED,
        "",
        shipped.frozen_report,
    )
    assert experiments.get_variant(KEY, 1, default="old") == "old"
    assert newest_event().message == "stopped: every call returns its default"


@pytest.mark.parametrize("state", [State.DRAFT, State.STOPPED])
def test_stop_of_an_experiment_that_gives_no_variant_changes_nothing(state: State) -> None:
    experiments.create(KEY)
    if state is State.STOPPED:
        experiments.start(KEY)
        experiments.stop(KEY)
    events = ExperimentEvent.objects.count()
    assert experiments.stop(KEY).state == state
    assert ExperimentEvent.objects.count() == events


def test_shipped_experiment_with_a_report_is_not_started_again(shipped: Experiment) -> None:
    experiments.stop(KEY)
    with pytest.raises(
        ExperimentError, match="its report is stored; undo what was done last, ship a variant"
    ):
        experiments.start(KEY)


def test_another_variant_is_shipped_with_the_stored_report(shipped: Experiment) -> None:
    expose_both(shipped, (900, 0), (900, 900), name="later")
    experiments.ship(KEY, "control")
    found = stored()
    assert (found.winner, found.frozen_report) == ("control", shipped.frozen_report)
    assert experiments.report(KEY)["winner"] == "control"
    assert newest_event().message == (
        "shipped: all units get control instead of treatment; the stored report stays"
    )


def test_same_variant_is_shipped_once(shipped: Experiment) -> None:
    events = ExperimentEvent.objects.count()
    experiments.ship(KEY, "treatment")
    assert ExperimentEvent.objects.count() == events


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
        "undone: “stopped: every call returns its default”; it runs with all exposures"
    )


def test_undo_of_a_ship_runs_again_without_the_stored_report(shipped: Experiment) -> None:
    experiments.undo(KEY)
    found = stored()
    assert (found.state, found.winner, found.frozen_report) == (State.RUNNING, "", None)
    assert newest_event().message.endswith("; the stored report was removed")
    assert experiments.report(KEY)["frozen_at"] is None


def test_undo_restores_the_variant_that_was_shipped_before(shipped: Experiment) -> None:
    experiments.ship(KEY, "control")
    experiments.undo(KEY)
    found = stored()
    assert (found.state, found.winner) == (State.SHIPPED, "treatment")
    assert found.frozen_report == shipped.frozen_report
    assert newest_event().message.endswith("; all units get treatment")


def test_undo_of_a_ship_restores_the_stop_and_its_time(running: Experiment) -> None:
    ended_at = experiments.stop(KEY).ended_at
    experiments.ship(KEY, "treatment")
    experiments.undo(KEY)
    assert (stored().state, stored().ended_at) == (State.STOPPED, ended_at)
    assert experiments.start(KEY).state == State.RUNNING


def test_undo_takes_back_one_decision_after_another(shipped: Experiment) -> None:
    experiments.ship(KEY, "control")
    experiments.stop(KEY)
    found = [experiments.undo(KEY) for _ in range(3)]
    assert [(one.state, one.winner) for one in found] == [
        (State.SHIPPED, "control"),
        (State.SHIPPED, "treatment"),
        (State.RUNNING, ""),
    ]
    with pytest.raises(ExperimentError, match="the last change is “started”"):
        experiments.undo(KEY)


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


def test_undo_keeps_what_was_added_since(running: Experiment) -> None:
    experiments.stop(KEY)
    experiments.add_metric(KEY, "revenue")
    experiments.undo(KEY)
    assert (stored().state, stored().other_metrics) == (State.RUNNING, ["revenue"])


@pytest.mark.parametrize("with_report", [True, False])
def test_undo_to_running_is_refused_after_the_exposures_were_deleted(
    running: Experiment, with_report: bool
) -> None:
    experiments.ship(KEY, "treatment", with_report=with_report)
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


def test_exposures_of_a_shipped_experiment_are_those_before_the_ship(shipped: Experiment) -> None:
    experiments.get_variant(KEY, 77)
    experiments.undo(KEY)
    assert not Exposure.objects.filter(unit="77").exists()
