"""The network loses what is sent: nothing is refused, closed or answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.workers import Worker

POLL = 1.0
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: Proxy) -> Iterator[Worker]:
    """A worker that has loaded by way of the proxy."""
    with Worker(proxy.url, POLL_INTERVAL=POLL) as worker:
        assert worker.ask("ready", 10) is True
        yield worker


def test_network_that_loses_everything_is_noticed_and_survived(
    proxy: Proxy, distant: Worker, open_to_all: Callable[[], None]
) -> None:
    proxy.stop()
    open_to_all()
    distant.sees(["mode"], "down", within=POLL + 3)
    assert distant.ask("status")["last_error"].endswith(": the server did not answer in time")
    # Long enough for tries that met the silence from their beginning.
    distant.sees(["failed", 3], True, within=15)
    assert distant.ask(*NEW_CHECKOUT) is False
    assert distant.ask("get_value", "gateway") == "stripe"
    proxy.resume()
    distant.sees(NEW_CHECKOUT, True, within=10)
    distant.sees(["mode"], "live", within=1)


def test_network_that_is_slow_delays_changes_and_nothing_else(
    proxy: Proxy, distant: Worker, open_to_all: Callable[[], None]
) -> None:
    proxy.slow(0.2)
    open_to_all()
    distant.sees(NEW_CHECKOUT, True, within=3)
    status = distant.ask("status")
    assert (status["mode"], status["failures"], len(proxy.tries)) == ("live", 0, 1)


def test_link_that_a_firewall_resets_is_replaced_at_once(
    proxy: Proxy, distant: Worker, open_to_all: Callable[[], None]
) -> None:
    proxy.cut()
    open_to_all()
    distant.sees(NEW_CHECKOUT, True, within=1)
    assert len(proxy.tries) == 2
