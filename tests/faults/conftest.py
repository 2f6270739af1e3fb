"""Servers between or beside the workers and their database."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres
from tools.replica import Replica


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def pooler(server: Postgres) -> Iterator[PgBouncer]:
    """Transaction pooling: each transaction of a client may use another backend."""
    with PgBouncer(server.port) as pooler:
        yield pooler


@pytest.fixture
def standby(server: Postgres, database: str) -> Iterator[Replica]:
    with Replica(server) as standby:
        standby.catch_up()
        yield standby


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        yield silent


@pytest.fixture
def silent_url(silent: socket.socket) -> str:
    """The address of a server that accepts connections and never responds."""
    host, port = silent.getsockname()
    return f"postgres://{host}:{port}/flags"
