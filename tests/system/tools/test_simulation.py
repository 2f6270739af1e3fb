"""The simulation of rollout plans: its random counts, its users, and a short run of it."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tools.simulation import default_plan, visits
from tools.simulation.plan import Course, Result, _Run, run_plan
from tools.simulation.plans import LOST, LOW, NO_HARM, Scenario, broken_bounds, report, simulate
from tools.simulation.sampling import generator, is_above, is_below, share_bound
from tools.simulation.users import ERROR, Failure, Minute, Site, Users
from tools.simulation.visit_rules import Counts, Rule, require_judged
from tools.simulation.workers import Stored

SITE = Site(4_000, 0.01)


def test_bound_of_a_share_is_that_of_clopper_and_pearson() -> None:
    assert share_bound(7, 7) == 1
    assert share_bound(0, 100) == pytest.approx(1 - 0.01 ** (1 / 100))
    # The probability of at most 2 of 20 is 1 %.
    chance = share_bound(2, 20)
    below = sum(
        math.comb(20, number) * chance**number * (1 - chance) ** (20 - number)
        for number in range(3)
    )
    assert below == pytest.approx(0.01)


def test_share_is_beyond_a_limit_only_if_chance_cannot_explain_it() -> None:
    assert [is_above(number, 100, 0.05) for number in (5, 10, 12)] == [False, False, True]
    assert [is_below(number, 100, 0.95) for number in (95, 90, 88)] == [False, False, True]


def test_users_of_a_site_arrive_and_fail_at_its_rates() -> None:
    users = Users(generator("test", 3), SITE)
    users.begin_step(25)
    day = [users.minute(at) for at in range(24 * 60)]
    requests = [sum(minute.requests[side] for minute in day) for side in (0, 1)]
    failures = [failure for minute in day for failure in minute.failures]
    errors = sum(failure.kind & ERROR for failure in failures)
    assert requests[1] / sum(requests) == pytest.approx(0.25, abs=0.03)
    # Broken clients fail more often.
    assert 0.01 < errors / sum(requests) < 0.025


def test_seen_users_are_counted_once_in_a_step() -> None:
    users = Users(generator("test", 4), SITE)
    users.begin_step(5)
    hours = [sum(sum(users.minute(at).new_users) for at in range(60)) for _ in range(8)]
    assert hours[0] > 3 * hours[-1]
    users.begin_step(25)
    assert sum(users.minute(0).new_users) > 10


def test_harm_multiplies_errors_inside_only() -> None:
    counts = []
    for harm in (1.0, 3.0):
        users = Users(generator("test", 5), SITE, harm)
        users.begin_step(50)
        failures = [failure for at in range(600) for failure in users.minute(at).failures]
        errors = [failure.inside for failure in failures if failure.kind & ERROR]
        counts.append([errors.count(0), errors.count(1)])
    (outside, inside), (outside_harmed, inside_harmed) = counts
    assert outside_harmed == pytest.approx(outside, rel=0.1)
    # Broken clients fail nearly always already.
    assert 2 < inside_harmed / inside < 3.1


def test_retries_are_requests_but_one_failing_user() -> None:
    stored = Stored(generator("test", 6))
    retrying, patient = 16, 32
    for user in (retrying, patient):
        failures = [Failure(1, user, ERROR)] * 100
        stored.add(0, Minute((0, 0), (0, 100), failures))
    for at in range(1, 5):
        stored.add(at, Minute((0, 0), (0, 0), []))
    assert stored.failed[0] == (set(), {retrying, patient})
    assert stored.failed[1] == (set(), set())
    # 1.5 failing retries on average for every request of the first user.
    assert stored.requests[1] - 200 == pytest.approx(150, abs=50)


def test_counts_of_the_last_seconds_arrive_in_the_next_minute() -> None:
    stored = Stored(generator("test", 7))
    failures = [Failure(0, user << 5, ERROR) for user in range(10_000)]
    stored.add(0, Minute((10_000, 0), (10_000, 0), failures))
    # 2.5 of 60 seconds on average, by the offsets of the workers.
    assert 0.91 < len(stored.failed[0][0]) / 10_000 < 0.995
    assert 0.91 < stored.users[0] / 10_000 < 0.995
    stored.add(1, Minute((0, 0), (0, 0), []))
    assert len(stored.failed[0][0]) == stored.users[0] == 10_000


@pytest.mark.parametrize(
    "run",
    [
        lambda: run_plan("a", 1, Course(SITE, harm=5.0)),
        lambda: default_plan.run_plan(default_plan.SCENARIOS["bad build"], "a", 1),
        lambda: visits.run_plan(visits.SCENARIOS["5.0 times, robots"], "a", 1),
    ],
    ids=["plan", "default plan", "plan of visits"],
)
def test_plan_with_the_same_seed_is_the_same(run: Callable[[], object]) -> None:
    assert run() == run()


def test_resumed_plan_counts_the_runs_of_each_step() -> None:
    run = _Run(generator("test", 8), Course(SITE, restarts=2))
    for at in range(2):
        run.resume(at)
    assert run.number == 3
    run.begin(1, 2)
    assert (run.index, run.number) == (1, 1)


# `make sim` runs all plans; here are fewer, on small sites.
@pytest.mark.timeout(240)
def test_harmless_plans_hardly_ever_trip_and_harmful_ones_do() -> None:
    quick = Course(SITE, dwell_minutes=40, forced_after=40)
    plans = [
        Scenario(NO_HARM, 60, users=(2_000, 5_000), course=quick),
        Scenario("5 times", 6, users=(6_000, 10_000), course=replace(quick, harm=5.0)),
        Scenario(LOW, 4, (2, 60), course=replace(quick, forced_after=None), any_step=True),
        Scenario(LOST, 2, course=replace(quick, forced_after=None, minutes=90, lost_workers=1)),
    ]
    results = simulate(plans)
    assert broken_bounds(results, most_false=0.08) == []
    assert "no harm: 60 plans" in report(results)


def test_broken_bounds_are_named() -> None:
    calm, tripped = Result(), Result(percent=5, failed_inside=3, guard="errors")
    blind = Result(passes=1, blind_passes=1)
    results = {NO_HARM: [calm] * 30 + [tripped], "5 times": [calm, tripped], LOST: [blind]}
    assert broken_bounds(results) == [
        "no harm: 3.23% tripped, bound 19.57%, allowed 5%",
        "5 times: 50.0% tripped, required 95%",
        "lost worker: 1 steps passed without data",
        "lost worker: 1 steps passed",
    ]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("no harm", "done"),
        ("2 times, 120,000 users", "tripped"),
        ("bad build", "tripped"),
        ("3,000 users, 300 a day", "holds"),
    ],
)
def test_default_plan_ends_as_its_users_fare(name: str, end: str) -> None:
    scenario = default_plan.SCENARIOS[name]
    outcome = default_plan.run_plan(scenario, name, 0)
    assert outcome.end == end
    assert outcome.in_time is (end == "done")
    assert outcome.was_warned or end != "holds"


def test_default_plans_that_trip_without_harm_break_a_bound() -> None:
    outcome = default_plan.Outcome("tripped", 1, 60, 12, False, False, 0)
    results = {"no harm": [outcome]}
    assert default_plan.broken_bounds(results) == ["no harm: bound of trips 100.0%"]


# Each decision of these plans is compared with the judge.
@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("no harm, 500 users a day, 1.00%", "done"),
        ("5.0 times, robots", "tripped"),
        ("20 % fail, 2 times", "tripped"),
        ("1.5 times the requests, 20,000", "done"),
        ("2.0 times the requests, 20,000", "holds"),
        ("2.0 times the requests, compared", "done"),
        ("5.0 times from the last tenth", "tripped"),
    ],
)
def test_plan_of_visits_ends_as_its_users_fare(name: str, end: str) -> None:
    outcome = visits.run_plan(visits.SCENARIOS[name], name, 0)
    assert outcome.end == end


def test_decision_that_is_not_that_of_the_judge_is_an_error() -> None:
    scenario = visits.SCENARIOS["no harm, robots"]
    counts = Counts(*np.array([[[0, 0], [19_000, 1_000]]] + [[[0, 0], [0, 0]]] * 3, float))
    rule = Rule(np.array([False, False]), np.array([False, True]))
    require_judged(scenario, 0, counts, np.ones(2), rule, 1)
    with pytest.raises(RuntimeError, match="but the judge"):
        require_judged(scenario, 0, counts, np.ones(2), rule._replace(trips=rule.passes), 1)


def test_plans_of_visits_that_trip_hold_or_pass_wrongly_break_a_bound() -> None:
    tripped, done, late = (
        visits.Outcome(end, 1, days, 3) for end, days in (("tripped", 1), ("done", 3), ("done", 4))
    )
    results = {"no harm, robots": [tripped, done, late] * 20, "20 % fail, 2 times": [done] * 20}
    assert visits.broken_bounds(results) == [
        "no harm, robots: 33.3% tripped",
        "no harm, robots: 66.7% done",
        "no harm, robots: 33.3% late",
        "20 % fail, 2 times: 100.0% done",
    ]
    assert visits.broken_bounds({"20 % fail, 2 times": [tripped] * 20}) == []
