"""The parts of the 5 % of false trips that the runs of a plan are given."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from flagstaff.rollouts.alpha import (
    BRAKE_ALPHA,
    GUARDS_ALPHA,
    PLAN_ALPHA,
    RESERVE_ALPHA,
    RunAlpha,
    alpha_of_next_run,
    brake_alpha,
    guard_alpha,
)
from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.results import GuardCounts, StepEvidence
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.verdict import judge

STEPS = [*(Step(percent, 3600) for percent in (1, 5, 25, 50)), Step(100, 0)]
GUARDS = [Guard("errors"), Guard("latency", seconds=0.5)]
LAST = 3
NOTHING = RunAlpha(0.0, 0.0)


def runs(indexes: Iterable[int]) -> list[RunAlpha]:
    """What runs of these steps are given, one after the other."""
    found: list[RunAlpha] = []
    for index in indexes:
        found.append(alpha_of_next_run(STEPS, index, GUARDS, total(found)))
    return found


def total(given: list[RunAlpha]) -> RunAlpha:
    return RunAlpha(sum(one.guards for one in given), sum(one.brake for one in given))


def test_steps_that_begin_once_get_equal_parts() -> None:
    for given in runs(range(4)):
        assert given.guards == pytest.approx(guard_alpha(STEPS, GUARDS) * len(GUARDS), rel=1e-12)
        assert given.brake == pytest.approx(brake_alpha(STEPS), rel=1e-12)


def test_parts_of_the_brake_of_the_guards_and_of_the_reserve_are_five_percent() -> None:
    parts = BRAKE_ALPHA + GUARDS_ALPHA + RESERVE_ALPHA
    assert parts == pytest.approx(PLAN_ALPHA)


@pytest.mark.parametrize("seed", range(20))
def test_all_runs_together_get_at_most_five_percent_and_each_of_them_some(seed: int) -> None:
    source = random.Random(seed)
    given: list[RunAlpha] = []
    steps = sorted({source.randint(1, 99) for _ in range(source.randint(1, 8))})
    plan = [*(Step(percent, 60) for percent in steps), Step(100, 0)]
    guards = GUARDS[: source.randint(1, 2)]
    for _ in range(60):
        # A step begins again, or a rolled back plan at its first step.
        index = source.randrange(len(steps))
        new = alpha_of_next_run(plan, index, guards, total(given))
        assert new.guards > 0
        assert (new.brake > 0) == (plan[index].percent <= 50)
        given.append(new)
    assert sum(total(given)) <= PLAN_ALPHA


def test_step_that_starts_again_shares_what_remains_with_the_later_ones() -> None:
    first, again = runs([0, 0])
    assert again.guards == pytest.approx(first.guards * 3 / 4)
    *_, last, last_again, third = runs([0, 1, 2, LAST, LAST, LAST])
    reserve = RESERVE_ALPHA * 0.8
    assert last.guards == pytest.approx(GUARDS_ALPHA / 4)
    assert [last_again.guards, third.guards] == pytest.approx([reserve / 2, reserve / 8])


@pytest.mark.parametrize("seed", range(20))
def test_steps_that_start_again_a_thousand_times_keep_a_part(seed: int) -> None:
    # Each lost worker starts a step again, so no person has to come back so often.
    source = random.Random(seed)
    given = runs(source.choice([seed % 4, LAST]) for _ in range(1000))
    assert min(min(one) for one in given) > 0
    assert sum(total(given)) <= PLAN_ALPHA
    assert given[-1].guards > 1e-9
    judge(STEPS, LAST, GUARDS, StepEvidence(500, 500, 0.02, {}, (500, 500)), 1000, given[-1])


@pytest.mark.parametrize("seed", range(20))
def test_no_run_gets_more_than_a_run_before(seed: int) -> None:
    # Who has seen which step looks bad could otherwise give it more.
    source = random.Random(seed)
    index, order = 0, []
    for _ in range(30):
        order.append(index)
        index = source.choice([0, index, min(index + 1, LAST)])
    given = [one.guards for one in runs(order)]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(given))


def test_run_that_compares_nothing_takes_nothing() -> None:
    assert alpha_of_next_run(STEPS, 4, GUARDS, NOTHING) == (0, 0)
    only_functions = [Guard("function", path="shop.guards.orders")]
    assert alpha_of_next_run(STEPS, 0, only_functions, NOTHING) == (0, brake_alpha(STEPS))


def test_judge_uses_the_part_of_the_run() -> None:
    evidence = StepEvidence(2_000, 38_000, 0.02, {0: GuardCounts(41, 210)}, (9, 9))
    found = judge(STEPS, 1, GUARDS[:1], evidence, 1000)
    assert found.guards[0].threshold == pytest.approx(100)
    assert found.brake == 3
    small = RunAlpha(0.00004, 0.00001)
    found = judge(STEPS, 1, GUARDS[:1], evidence, 1000, small)
    assert found.guards[0].threshold == pytest.approx(25_000)
    assert found.brake == 4
    # The same counts trip the first guard and not the second one.
    found = judge(STEPS, 1, GUARDS, replace(evidence, failed={0: GuardCounts(32, 210)}), 1000)
    assert found.trip == "errors"
    found = judge(
        STEPS, 1, GUARDS, replace(evidence, failed={0: GuardCounts(32, 210)}), 1000, small
    )
    assert found.trip is None
    found = judge(STEPS, 1, GUARDS, evidence, 1000, small)
    assert found.guards[0].threshold == pytest.approx(50_000)


def test_run_to_which_sql_gave_nothing_does_not_trip() -> None:
    evidence = StepEvidence(2_000, 38_000, 0.02, {0: GuardCounts(41, 210)}, (9, 9))
    found = judge(STEPS, 1, GUARDS[:1], evidence, 1000, NOTHING)
    assert (found.trip, found.brake) == (None, None)
