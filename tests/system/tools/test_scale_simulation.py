"""The simulation of many workers, compared with formulas and with the engine's source."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import partial

import pytest

from tools.scale_simulation import constants
from tools.scale_simulation.constants import FEW_FLAGS, Times
from tools.scale_simulation.queueing import Events, Station
from tools.scale_simulation.scenarios import change, deploy, full_loads, idle, quantile
from tools.scale_simulation.site import Group, Site

#: Nothing takes time but the change.
ONLY_CHANGES = replace(FEW_FLAGS, change=2e-3, poll=0.0, write=0.0, signal=0.0)
NO_ROUND_TRIP = Times(round_trip=0.0)


def mean_wait(rate: float, work: list[float], cores: int) -> float:
    """Returns the mean wait of jobs that arrive at random times."""
    source, events, waits = random.Random(5), Events(), list[float]()
    station, now = Station(events, cores), 0.0
    for one in work:
        now += source.expovariate(rate)

        def note(arrived: float = now, one: float = one) -> None:
            waits.append(events.now - arrived - one)

        events.at(now, partial(station.submit, one, note))
    events.run(math.inf)
    assert len(waits) == len(work)
    return sum(waits) / len(waits)


def test_mean_wait_at_one_core_is_that_of_pollaczek_and_khinchine() -> None:
    # M/D/1 at 80 %: half of 0.8 / 0.2 services.
    assert mean_wait(0.8, [1.0] * 200_000, cores=1) == pytest.approx(2.0, rel=0.05)


def test_mean_wait_at_four_cores_is_that_of_erlang() -> None:
    source = random.Random(6)
    # M/M/4 at 75 %: 0.5094 wait, each for one service on average.
    work = [source.expovariate(1) for _ in range(200_000)]
    assert mean_wait(3.0, work, cores=4) == pytest.approx(0.5094, rel=0.05)


def test_jobs_longer_than_a_turn_share_the_core() -> None:
    events, ends = Events(), list[float]()
    station = Station(events, 1, turn=0.001)
    for work in (1.0, 0.1, 1.0):
        station.submit(work, lambda: ends.append(events.now))
    events.run(math.inf)
    assert ends == pytest.approx([0.3, 2.1, 2.1], abs=0.003)
    assert station.busy == pytest.approx(2.1)


def test_events_of_one_time_run_in_their_order_and_later_ones_not_yet() -> None:
    events, ran = Events(), list[int]()
    for time, number in ((2.0, 3), (1.0, 1), (1.0, 2), (3.0, 4)):
        events.at(time, partial(ran.append, number))
    events.run(2.5)
    assert (ran, events.now) == ([1, 2, 3], 2.5)


def test_change_reaches_listeners_one_after_the_other_at_each_core() -> None:
    found = change((Group(1_000, listens=True),), ONLY_CHANGES, NO_ROUND_TRIP, cores=4)
    assert found.last == pytest.approx(1_000 / 4 * 2e-3)
    assert found.half == pytest.approx(500 / 4 * 2e-3)
    assert found.missing == 0


@pytest.mark.parametrize("lag", [0.0, 0.7])
def test_change_reaches_workers_that_poll_evenly_within_an_interval(lag: float) -> None:
    group = Group(2_000, standbys=1, lag=lag)
    times = Times(poll_interval=10, round_trip=0.0)
    found = change((group,), replace(ONLY_CHANGES, change=0.0), times, cores=4)
    assert found.half - lag == pytest.approx(5.0, abs=0.4)
    assert 10 <= found.last <= 11 + lag


def test_busy_cores_of_polls_are_their_rate_times_their_cost() -> None:
    groups = (Group(900), Group(300, standbys=3), Group(300, pooled=True))
    costs = replace(FEW_FLAGS, poll=1e-3, pooled_poll=2e-3, pooler=1e-4, full_load=0.0)
    found = idle(groups, costs, NO_ROUND_TRIP, cores=4)
    assert found.primary == pytest.approx(900 / 5 * 1e-3 + 300 / 5 * 2e-3, rel=0.05)
    assert found.standby == pytest.approx(100 / 5 * 1e-3, rel=0.1)
    assert found.pooler == pytest.approx(300 / 5 * 1e-4, rel=0.05)


def test_full_loads_after_a_load_of_rows_are_spread_over_their_jitter() -> None:
    times = replace(NO_ROUND_TRIP, full_after_rows=60.0, poll_interval=1.0)
    costs = replace(ONLY_CHANGES, full_load=5e-3)
    found = full_loads((Group(1_000, listens=True),), costs, times, cores=4)
    # A thousand in twelve seconds, beside those of every five minutes.
    assert found.cores == pytest.approx(1_000 / 12 * 5e-3, rel=0.4)
    assert (found.full_seconds, found.failures) == (0, 0)


def test_deploy_of_few_workers_takes_their_work() -> None:
    costs = FEW_FLAGS
    work = costs.fork + costs.connect + costs.identify + costs.full_load
    found = deploy((Group(40, listens=True),), costs, NO_ROUND_TRIP, cores=2, within=0)
    assert found.last == pytest.approx(40 / 2 * work, rel=0.1)
    assert (found.missing, found.failures) == (0, 0)


def test_workers_that_miss_a_deadline_pause_and_connect_again() -> None:
    # The work takes nine seconds, a log-in waits for three.
    costs = replace(FEW_FLAGS, connect=0.03, identify=0.0, full_load=0.0)
    found = deploy((Group(600, listens=True),), costs, NO_ROUND_TRIP, cores=2, within=0)
    assert found.failures > 0
    assert found.missing == 0
    assert found.last > 600 * 0.03 / 2


def test_same_seed_gives_the_same_delays() -> None:
    def delays(seed: int) -> list[float]:
        site = Site((Group(50),), FEW_FLAGS, Times(), cores=2, seed=seed)
        site.begin_loaded()
        site.events.at(5.0, site.change)
        site.events.run(15.0)
        return site.delays[0]

    assert delays(1) == delays(1) != delays(2)


def test_quantile_is_the_value_at_its_rank() -> None:
    values = [float(one) for one in range(1, 101)]
    assert [quantile(values, part) for part in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]


def test_times_are_those_of_the_engine() -> None:
    times = Times()
    assert (times.full, times.gap, times.first_pause) == (300, 0.02, 0.5)
    assert (times.connect_limit, times.statement_limit, times.load_limit) == (3, 2, 15)
    source = (constants._SOURCES / "refresh/backoff.rs").read_text()
    assert f"=> (FIRST, bound({times.longest_pause * 1000:_.0f}))" in source
    assert "0.9 + 0.2 * fraction()" in (constants._SOURCES / "random.rs").read_text()
    with pytest.raises(LookupError, match="has no duration NOTHING"):
        constants._constant("refresh/clock.rs", "NOTHING")
