"""New builds in the middle of a step."""

import pytest

from flagstaff import rollouts
from flagstaff._workers.register import live_releases
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, State, StepRun
from tests.support.plans import (
    KEY,
    STEPS,
    end_dwell_time,
    go_to,
    harm,
    pass_step,
    plan_of,
    rollout,
    run_of,
    run_plan,
    see_enough,
)
from tests.support.reports import age_workers, register_worker
from tests.support.sql import rows

NAMES = {"a": 1, "b": 2, "": 3}


def report(release: str) -> None:
    """Writes the report of a worker that runs a release."""
    register_worker("measurements", pid=NAMES[release], release=release)


@pytest.fixture
def started(pending: Plan) -> None:
    """A plan that has started with the first build."""
    report("a")
    rollouts.start(KEY)


def drive() -> tuple[bool, str]:
    """Runs the driver, and returns whether the step has started again, and why."""
    before = run_of()
    text = run_plan().text
    return run_of() != before, text


def test_new_release_starts_the_step_again_with_its_whole_time(started: None) -> None:
    pass_step()
    report("b")
    has_begun, why = drive()
    assert (has_begun, why) == (True, "step 1 starts again: a new release appeared: b")
    run, plan = StepRun.objects.get(pk=run_of()), plan_of()
    assert (run.number, run.releases, rollout()) == (2, ["a", "b"], 5)
    assert plan.due_at is not None
    assert (plan.due_at - run.started_at).total_seconds() == 3600
    # What the build before has shown is gone.
    end_dwell_time()
    run_plans()
    assert (plan_of().state, rollout()) == (State.HOLDING, 5)


@pytest.mark.parametrize(
    ("happens", "releases"),
    [
        (["+b", "-a"], [["a", "b"], ["b"]]),
        (["+b", "-a", "+a", "-b"], [["a", "b"], ["b"], None, ["a"]]),
        (["+b", "-b", "+b"], [["a", "b"], ["a"], None]),
        (["+", "-"], [None, None]),
    ],
    ids=["rolling deploy", "taken back", "comes and goes", "without a release"],
)
def test_each_new_set_of_releases_starts_the_step_again_once(
    started: None, happens: list[str], releases: list[list[str] | None]
) -> None:
    for release, of_new_run in zip(happens, releases, strict=True):
        if release[0] == "+":
            report(release[1:])
        else:
            # Its last report is so old that nobody expects another one.
            age_workers(10_000, pid=NAMES[release[1:]])
        has_begun, _why = drive()
        assert has_begun is (of_new_run is not None)
        assert of_new_run in (None, StepRun.objects.get(pk=run_of()).releases)
        assert drive()[0] is False


@pytest.mark.parametrize("at", [5, 25])
def test_step_waits_while_no_worker_that_counts_is_running(started: None, at: int) -> None:
    go_to(at)
    pass_step()
    rows("UPDATE flagstaff_report SET stopped_at = last_seen_at")
    why = "waits for the workers' report: no worker that counts for the plan is running"
    assert drive() == (False, why)
    assert (plan_of().state, rollout()) == (State.HOLDING, at)
    # Nothing passes with what the build before has shown.
    report("b")
    assert drive() == (True, f"step {1 + (at > 5)} starts again: a new release appeared: b")


def test_run_that_began_before_any_worker_measured_is_given_the_releases(flag: FeatureFlag) -> None:
    rollouts.start(KEY, STEPS)
    assert StepRun.objects.get(pk=run_of()).releases is None
    report("a")
    assert drive()[0] is False
    assert StepRun.objects.get(pk=run_of()).releases == ["a"]
    report("b")
    assert drive()[0] is True


def test_trip_comes_before_a_new_release(started: None) -> None:
    harm()
    report("b")
    run_plans()
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_plan_that_ignores_releases_goes_on(flag: FeatureFlag) -> None:
    report("a")
    rollouts.start(KEY, STEPS, ignore_releases=True)
    pass_step()
    report("b")
    run_plans()
    assert rollout() == 25


def test_last_step_is_not_started_again(started: None) -> None:
    go_to(100)
    see_enough()
    report("b")
    assert drive()[0] is False


def test_worker_that_has_stopped_or_reports_something_else_has_no_release(db: None) -> None:
    register_worker("measurements", pid=1, release="a", stopped=True)
    register_worker("usage", pid=2, release="b")
    assert live_releases("measurements") is None
    report("")
    assert live_releases("measurements") == frozenset()
