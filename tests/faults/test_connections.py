"""The engine reaches a server as libpq does: by socket or port, with a password, among several."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from tests.clusters import REST, at, guarded_server, ready, sockets
from tests.workers import Worker
from tools.ports import free_port
from tools.postgres import Postgres
from tools.replica import Replica

OpenToAll = Callable[[], None]
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
# For the whole way to one server.
DEADLINE = 3
ENGINE = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name ~ ('^(fs1|flagstaff)( .*)? ' || %s || '( |$)')
"""


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    with guarded_server() as server:
        yield server


@pytest.fixture(params=["socket", "port"])
def place(request: pytest.FixtureRequest, database: str, server: Postgres) -> str:
    """The address of the database, by both ways to it."""
    return database if request.param == "port" else make_conninfo(database, host=sockets(server))


@pytest.fixture
def standby(module_standby: Replica, database: str) -> Iterator[Replica]:
    """A standby that a test may stop, and has the database."""
    module_standby.catch_up()
    yield module_standby
    module_standby.server.stop()
    module_standby.server.start()


@pytest.fixture(scope="module")
def module_standby(module_postgres_server: Postgres) -> Iterator[Replica]:
    with Replica(module_postgres_server) as standby:
        yield standby


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes no more connections, and does not say so."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections, and says nothing to them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def make_role(database: str, name: str, password: str, encryption: str) -> None:
    """A role that may read, with this password."""
    with psycopg.connect(database) as session:
        # As psql's \\password does it.
        hashed = session.pgconn.encrypt_password(
            password.encode(), name.encode(), encryption.encode()
        )
        session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
        session.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE pg_read_all_data").format(
                sql.Identifier(name), hashed.decode()
            )
        )


def libpq(url: str) -> str | None:
    """The port of the server that libpq comes to, if it does."""
    connection = pq.PGconn.connect(make_conninfo(url, connect_timeout=DEADLINE).encode())
    try:
        return connection.port.decode() if connection.status == pq.ConnStatus.OK else None
    finally:
        connection.finish()


def engine(worker: Worker, database: str, *ports: int) -> list[str]:
    """The ports of the servers that the worker is connected with."""
    found = []
    for port in ports:
        with psycopg.connect(make_conninfo(database, port=port)) as session:
            row = session.execute(ENGINE, [str(worker.pid)]).fetchone()
            found += [str(port)] if row and row[0] else []
    return found


def test_notifications_come_by_socket_and_by_port(place: str, open_to_all: OpenToAll) -> None:
    with ready(place, POLL_INTERVAL=60) as worker:
        worker.sees(["mode"], "live", within=1)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        worker.ask("refresh")


PASSWORDS = {
    "plain": "correct horse",
    "quotes": """it's a "\\\\" @:/?#%20 = one""",
    "letters": "pa\u00dfw\u00f6rd \u5bc6\u7801",
    "mapped": "I\u00adX \u2168",
    "unassigned": "\u0221",
}


# The rules of the server have md5 at its port alone.
LOG_INS = {"scram": ("alice", "scram-sha-256"), "md5": ("hashed", "md5")}


@pytest.mark.parametrize("way", [*itertools.product(LOG_INS, ["port"]), ("scram", "socket")])
@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_password_is_given_as_libpq_gives_it(
    password: str, way: tuple[str, str], server: Postgres, database: str
) -> None:
    name, encryption = LOG_INS[way[0]]
    make_role(database, name, password, encryption)
    host = sockets(server) if way[1] == "socket" else "127.0.0.1"
    url = make_conninfo(database, host=host, user=name, password=password)
    assert libpq(url)
    with ready(url) as worker:
        worker.sees(["mode"], "live", within=1)
        worker.ask("refresh")


def test_wrong_password_is_told_of_without_it(place: str, database: str) -> None:
    make_role(database, "alice", "correct horse", "scram-sha-256")
    url = make_conninfo(place, user="alice", password="hunter2")
    with Worker(url, STARTUP_TIMEOUT=0.2) as worker:
        assert worker.ask("ready", 1) is False
        assert worker.ask("status")["last_error"] == (
            "connect: the log-in was refused, see USER and PASSWORD in DATABASES (SQLSTATE 28P01)"
        )


ATTRS = ["any", "read-write", "primary", "read-only", "standby", "prefer-standby"]


@pytest.mark.parametrize("attrs", ATTRS)
def test_server_among_several_is_the_one_that_libpq_takes(
    attrs: str, server: Postgres, standby: Replica, database: str
) -> None:
    both = [server.port, standby.port]
    with black_hole() as nowhere:
        for ports in ([nowhere, free_port(), *both], both[::-1]):
            url = at(database, *ports, attrs=attrs)
            with Worker(url) as worker:
                # Two rounds, where the first finds none that is preferred.
                assert worker.ask("ready", 2 * (DEADLINE + 1)) is True
                assert engine(worker, database, *both) == [libpq(url)]
                worker.ask("refresh", 2 * (DEADLINE + 1))


def test_server_that_never_answers_is_passed_over(
    server: Postgres, database: str, open_to_all: OpenToAll
) -> None:
    with silence() as nowhere, ready(at(database, nowhere, server.port)) as worker:
        worker.sees(["mode"], "live", within=1)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        worker.ask("refresh", DEADLINE + 1)


def test_no_server_of_the_kind_asked_for_is_told_of(server: Postgres, database: str) -> None:
    for attrs in ("standby", "read-only"):
        url = at(database, free_port(), server.port, attrs=attrs)
        assert libpq(url) is None
        with Worker(url, STARTUP_TIMEOUT=0.2) as worker:
            assert worker.ask("ready", 1) is False
            worker.sees(["mode"], "down", within=3)
            assert "127.0.0.1" not in worker.ask("status")["last_error"]


def test_servers_that_come_and_go_are_followed(
    server: Postgres, standby: Replica, database: str, open_to_all: OpenToAll
) -> None:
    both = [server.port, standby.port]
    with (
        black_hole() as nowhere,
        ready(at(database, nowhere, *both, attrs="prefer-standby")) as worker,
    ):
        assert engine(worker, database, *both) == [str(standby.port)]
        worker.ask("watch", NEW_CHECKOUT)
        standby.server.stop()
        open_to_all()
        # Two rounds past the black hole, and a rest.
        worker.sees(NEW_CHECKOUT, True, within=2 * (2 * DEADLINE + REST))
        assert engine(worker, database, server.port) == [str(server.port)]
        assert worker.ask("watched") == [False, True]
