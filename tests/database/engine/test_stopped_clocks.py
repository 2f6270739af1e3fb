"""Every wait ends while Python's clocks stand still, as under freezegun."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.db import connections
from pytest_django import Settings

from flagstaff import _core, aready, flag_enabled, wait_for_workers
from flagstaff._engine import direct, lifecycle
from flagstaff.testing import live_engine
from tools.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = 0.05
# A wait of 50 ms sleeps 25 times at most.
MAX_SLEEPS = 200

Clock = Callable[[], float]


@pytest.fixture(autouse=True)
def real_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stops the clocks. Returns one that runs."""
    real_clock, sleep, sleeps = time.monotonic, time.sleep, 0

    def sleep_few_times(seconds: float) -> None:
        nonlocal sleeps
        sleeps += 1
        assert sleeps <= MAX_SLEEPS, "the wait does not end"
        sleep(seconds)

    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, partial(float, getattr(time, name)()))
    monkeypatch.setattr(time, "sleep", sleep_few_times)
    return real_clock


@pytest.fixture
def no_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.FLAGSTAFF = {"STARTUP_TIMEOUT": TIMEOUT}
    address = connections["default"].settings_dict
    monkeypatch.setitem(address, "HOST", "127.0.0.1")
    monkeypatch.setitem(address, "PORT", str(free_port()))
    lifecycle.close()
    yield
    lifecycle.close()


def test_clock_of_the_extension_runs(real_clock: Clock) -> None:
    real_before, before = real_clock(), _core.monotonic()
    time.sleep(0.01)
    assert 0.01 <= _core.monotonic() - before <= real_clock() - real_before + 0.01


@pytest.mark.usefixtures("no_server")
def test_first_evaluation_without_a_server_returns_the_default() -> None:
    with live_engine():
        assert flag_enabled("new_checkout", default=True)


@pytest.mark.usefixtures("no_server")
def test_aready_without_a_server_returns_false(
    real_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = _core.is_waiting
    checks = iter(range(MAX_SLEEPS))
    monkeypatch.setattr(_core, "is_waiting", lambda: next(checks) >= 0 and waiting())
    loop = asyncio.new_event_loop()
    # As with freezegun's option real_asyncio.
    loop.time = real_clock  # type: ignore[method-assign]
    with live_engine():
        assert loop.run_until_complete(aready(TIMEOUT)) is False
    loop.close()


def test_wait_for_a_worker_that_does_not_connect_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "is_required", lambda: False)
    outcome = wait_for_workers(TIMEOUT, expect=1)
    assert (outcome.missing, outcome.seconds >= TIMEOUT) == (1, True)
