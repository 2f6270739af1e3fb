"""The network drops packets: connections are neither refused nor closed, and get no response."""

from collections.abc import Iterator

import pytest

from tests.support.fixtures import OpenToAll
from tests.support.proxy import Proxy
from tests.support.workers import NEW_CHECKOUT, Worker

POLL = 1.0


@pytest.fixture
def remote_worker(proxy: Proxy) -> Iterator[Worker]:
    """A worker that has loaded through the proxy."""
    with Worker(proxy.url, POLL_INTERVAL=POLL).loaded() as worker:
        yield worker


def test_worker_during_packet_loss_keeps_its_snapshot_and_recovers(
    proxy: Proxy, remote_worker: Worker, open_to_all: OpenToAll
) -> None:
    proxy.stop()
    open_to_all()
    remote_worker.sees(["mode"], "down", within=POLL + 3)
    assert remote_worker.ask("status")["last_error"].endswith(": the server did not answer in time")
    # Includes attempts that began during the packet loss.
    remote_worker.sees(["failed", 3], True, within=15)
    assert remote_worker.ask(*NEW_CHECKOUT) is False
    assert remote_worker.ask("get_value", "gateway") == "stripe"
    proxy.resume()
    remote_worker.sees(NEW_CHECKOUT, True, within=10)
    remote_worker.sees(["mode"], "live", within=5)


def test_slow_network_delays_changes_without_failures(
    proxy: Proxy, remote_worker: Worker, open_to_all: OpenToAll
) -> None:
    proxy.slow(0.2)
    open_to_all()
    remote_worker.sees(NEW_CHECKOUT, True, within=3)
    status = remote_worker.ask("status")
    assert (status["mode"], status["failures"], len(proxy.connections)) == ("live", 0, 1)


def test_reset_connection_is_replaced_at_once(
    proxy: Proxy, remote_worker: Worker, open_to_all: OpenToAll
) -> None:
    proxy.cut()
    open_to_all()
    remote_worker.sees(NEW_CHECKOUT, True, within=1)
    assert len(proxy.connections) == 2
