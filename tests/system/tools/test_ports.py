"""Ports of servers that tests of several processes start at the same time."""

import random
import socket
from collections.abc import Iterator
from itertools import islice

import pytest

from tools import ports
from tools.postgres import Postgres


@pytest.fixture
def restarted() -> Iterator[None]:
    """The module as in a process that has chosen no port."""
    yield
    ports._ports.cache_clear()


def chosen(count: int) -> list[int]:
    ports._ports.cache_clear()
    return list(islice(ports._ports(), count))


@pytest.mark.usefixtures("restarted")
def test_processes_of_a_run_choose_different_ports_and_none_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = []
    for number in range(4):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        ports += chosen(300)
    assert len(set(ports)) == len(ports) == 1_200


@pytest.mark.usefixtures("restarted")
def test_ports_do_not_depend_on_the_seed_of_a_run() -> None:
    lists = []
    for _ in range(2):
        random.seed(1)
        lists.append(chosen(5))
    assert lists[0] != lists[1]


def test_server_whose_port_was_taken_before_its_start_gets_another() -> None:
    server = Postgres()
    taken = server.port
    with socket.create_server((ports.LOOPBACK, taken)), server:
        assert server.pid
        assert server.port != taken
