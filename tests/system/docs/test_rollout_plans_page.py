"""What the page about rollout plans says is so."""

import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flagstaff import rollouts
from flagstaff._core import REGISTERS
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.statistics import RATIOS, alpha_of_run
from flagstaff.rollouts.statistics import share_error as error_of
from flagstaff.rollouts.steps_and_guards import (
    DEFAULTS,
    FEWEST_USERS,
    Guard,
    GuardCounts,
    StepEvidence,
    StepVerdict,
    parse_steps,
)
from flagstaff.rollouts.verdict import judge
from tests.conftest import ROOT
from tests.support.pages import code_of, names_of, rows_of
from tests.support.plans import KEY, drive_recently, make_flag, plan_of, rollout
from tests.support.terminals import ok

PAGE = "how-to/rollout-plans.md"
FORMULAS = "discussions/plan-guards.md"
TEXT = " ".join((ROOT / "docs" / FORMULAS).read_text().split())
# Those of the first plan of the page, which has one guard.
TEXTS = re.findall(r"--step (\S+)", code_of(PAGE, "console", "--step")[0])
STEPS = parse_steps(TEXTS)
GUARDS = (Guard("errors"),)
USERS = {"inside": 1_000, "outside": 19_000}
FAILED_OUTSIDE = 190


def verdict(inside: int, outside: int) -> StepVerdict:
    """The verdict on the step of 5 % with these failing users."""
    users = USERS["inside"], USERS["outside"]
    failed = {0: GuardCounts(inside, outside)}
    evidence = StepEvidence(*users, error_of(*users), failed, (60_000, 3_000))
    return judge(STEPS, 0, GUARDS, evidence, 1001)


def threshold(guards: int) -> float:
    """The threshold of a plan with so many guards."""
    latency = [Guard("latency", seconds=seconds) for seconds in range(1, guards)]
    return 1 / alpha_of_run(STEPS, 0, [*GUARDS, *latency], 1).guard


def test_thresholds_are_those_of_the_first_plan() -> None:
    assert [step.percent for step in STEPS] == [5, 25, 50, 100]
    assert f"the threshold of `errors` is {threshold(1):.0f}. At 5 %" in TEXT
    of_one_guard, three = (f"{threshold(guards):.0f}" for guards in (1, 3))
    assert f"with one guard the threshold is {of_one_guard}, with three it is {three}." in TEXT


@pytest.mark.parametrize("row", rows_of(FORMULAS, "failed with the flag"), ids=lambda row: row[0])
def test_example_of_a_trip_has_the_figures_of_the_judge(row: list[str]) -> None:
    failed, ratio, e_value, trips = row
    judgement = verdict(int(failed), FAILED_OUTSIDE)
    [errors] = judgement.guards
    assert errors.ratio == pytest.approx(float(ratio), abs=0.05)
    assert errors.e_value == pytest.approx(float(e_value.replace(",", "")), rel=0.02)
    assert (judgement.trip is not None) == (trips == "trips")


def test_text_names_the_alternatives_and_the_size_of_the_sketch() -> None:
    assert ", ".join(f"{ratio:g}" for ratio in RATIOS[:-1]) + f" and {RATIOS[-1]:g}" in TEXT
    assert f"{REGISTERS:,} registers" in TEXT


def test_defaults_are_those_of_the_page() -> None:
    rows = rows_of(PAGE, "users a day")
    assert [int(users.replace(",", "")) for users, *_ in rows][:3] == [
        defaults.users_a_day for defaults in DEFAULTS[:3]
    ]
    assert [(steps.strip("`").split(), int(required)) for _, steps, required in rows] == [
        ([*map(str, defaults.steps)], defaults.required_users) for defaults in DEFAULTS
    ]
    assert int(rows[3][0]) == FEWEST_USERS


@pytest.mark.django_db(transaction=True)
def test_commands_of_the_first_plan_start_it() -> None:
    make_flag(enabled=False)
    migrate, *commands = code_of(PAGE, "console", "--step")[0].splitlines()
    assert migrate == "$ python manage.py migrate flagstaff_rollouts"
    for line in commands:
        # The test has no second terminal.
        ran = ok(line.removeprefix("$ python manage.py flags ").removesuffix(" --loop"))
    assert (plan_of().state, rollout()) == (State.RUNNING, 5)
    assert "started: rollout 0 → 5 %" in ran.out


@pytest.mark.django_db(transaction=True)
def test_other_commands_do_what_the_page_says() -> None:
    make_flag()
    drive_recently()
    rollouts.start(KEY, TEXTS)
    for action, state, percent in (
        ("pause", State.PAUSED, 5),
        ("resume", State.RUNNING, 5),
        ("roll-back", State.ROLLED_BACK, 0),
    ):
        ok(f"plan {action} {KEY}")
        assert (plan_of().state, rollout()) == (state, percent)
    ok(f"plan delete {KEY} --yes")
    assert not Plan.objects.exists()
    assert rollout() == 0


def guard_of_the_page(monkeypatch: pytest.MonkeyPatch, orders: int) -> Callable[[Any], Any]:
    """The guard of the page, in a shop with so many recent orders."""

    class Orders:
        def filter(self, **_: Any) -> Any:
            return SimpleNamespace(count=lambda: orders)

    models = SimpleNamespace(Order=SimpleNamespace(objects=Orders()))
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "shop.models", models)
    guard: Callable[[Any], Any] = names_of(PAGE, "def orders")["orders"]
    return guard


def test_guard_of_the_page_trips_without_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guard_of_the_page(monkeypatch, 10)(Plan()) is True
    assert guard_of_the_page(monkeypatch, 9)(Plan()) == "only 9 orders in the last five minutes"
