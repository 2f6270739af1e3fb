"""The parts of the 5 % of false trips that the runs of a plan are given."""

import random
from dataclasses import replace

import pytest

from flagstaff.rollouts.statistics import BRAKE_ALPHA, GUARDS_ALPHA, PLAN_ALPHA, alpha_of_run
from flagstaff.rollouts.steps_and_guards import Guard, GuardCounts, Step, StepEvidence
from flagstaff.rollouts.verdict import judge

STEPS = [*(Step(percent, 3600) for percent in (1, 5, 25, 50)), Step(100, 0)]
GUARDS = [Guard("errors"), Guard("latency", seconds=0.5)]
EVIDENCE = StepEvidence(2_000, 38_000, 0.02, {0: GuardCounts(41, 210)}, (9, 9))


@pytest.mark.parametrize("seed", range(20))
def test_all_runs_of_all_steps_and_guards_get_at_most_five_percent(seed: int) -> None:
    source = random.Random(seed)
    percents = sorted({source.randint(1, 99) for _ in range(source.randint(1, 8))})
    steps = [*(Step(percent, 60) for percent in percents), Step(100, 0)]
    guards = GUARDS[: source.randint(1, 2)]
    spent = 0.0
    for index in range(len(steps)):
        for number in range(1, source.choice([2, 5, 2000])):
            alpha = alpha_of_run(steps, index, guards, number)
            spent += alpha.guard * len(guards) + alpha.brake
            assert (alpha.guard > 0) == (steps[index].percent < 100)
            assert (alpha.brake > 0) == (steps[index].percent <= 50)
    assert spent <= PLAN_ALPHA


def test_steps_get_equal_parts_and_runs_of_a_step_ever_smaller_ones() -> None:
    parts = [GUARDS_ALPHA / 4 / 2 * share for share in (1 / 2, 1 / 6, 1 / 12)]
    for index in range(4):
        runs = [alpha_of_run(STEPS, index, GUARDS, number) for number in (1, 2, 3)]
        assert [run.guard for run in runs] == pytest.approx(parts)
        assert runs[0].brake == pytest.approx(BRAKE_ALPHA / 4 / 2)


def test_hundredth_run_still_trips_and_one_that_compares_nothing_takes_nothing() -> None:
    # Each lost worker starts a step again.
    sides = GuardCounts(60, 210)
    verdict = judge(STEPS, 1, GUARDS, replace(EVIDENCE, failed={0: sides}), 1000, 100)
    assert verdict.trip == "errors"
    assert alpha_of_run(STEPS, 4, GUARDS, 1) == (0, 0)
    only_functions = [Guard("function", path="shop.guards.orders")]
    assert alpha_of_run(STEPS, 0, only_functions, 1).guard == 0
