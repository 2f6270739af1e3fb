"""The engine connects as libpq does: by socket or port, with passwords and several hosts."""

import base64
import hashlib
import hmac
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from tests.support.clusters import REST, at, guarded_server, ready, sockets
from tests.support.fixtures import OpenToAll
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import seconds
from tools.ports import free_port
from tools.postgres import Postgres
from tools.replica import Replica

# Seconds for connecting to one server.
DEADLINE = 3
SESSIONS_OF_PID = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'flagstaff %% ' || %s || ' %%'
"""


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    with guarded_server() as server:
        yield server


@pytest.fixture(params=["socket", "port"])
def url(request: pytest.FixtureRequest, database: str, server: Postgres) -> str:
    """The address of the database, by socket and by port."""
    return database if request.param == "port" else make_conninfo(database, host=sockets(server))


@pytest.fixture
def standby(module_standby: Replica, database: str) -> Iterator[Replica]:
    """A standby that has the database. Tests may stop it."""
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
    """A port that neither accepts nor refuses connections."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def make_role(database: str, name: str, password: str) -> None:
    """Creates a role that may read, with this password or what the server stores for it."""
    role = sql.Identifier(name)
    with psycopg.connect(database) as session:
        session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE pg_read_all_data")
        session.execute(create.format(role, password))


def libpq_port(url: str) -> str | None:
    """Returns the port of the server that libpq connects to, None if it fails."""
    connection = pq.PGconn.connect(make_conninfo(url, connect_timeout=DEADLINE).encode())
    try:
        return connection.port.decode() if connection.status == pq.ConnStatus.OK else None
    finally:
        connection.finish()


def connected_ports(worker: Worker, database: str, *ports: int) -> list[str]:
    """Returns those of the ports that the worker is connected to."""
    connected = []
    for port in ports:
        with psycopg.connect(make_conninfo(database, port=port)) as session:
            row = session.execute(SESSIONS_OF_PID, [str(worker.pid)]).fetchone()
            connected += [str(port)] if row and row[0] else []
    return connected


def test_notification_arrives_by_socket_and_by_port(url: str, open_to_all: OpenToAll) -> None:
    with ready(url, POLL_INTERVAL=60) as worker:
        worker.sees(["mode"], "live", within=5)
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


@pytest.mark.parametrize(("name", "encryption"), [("alice", "scram-sha-256"), ("hashed", "md5")])
@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_password_is_encoded_as_libpq_does(
    password: str, name: str, encryption: str, database: str
) -> None:
    with psycopg.connect(database) as session:
        # As \password in psql.
        arguments = password.encode(), name.encode(), encryption.encode()
        hashed = session.pgconn.encrypt_password(*arguments).decode()
    make_role(database, name, hashed)
    url = make_conninfo(database, user=name, password=password)
    assert libpq_port(url)
    with ready(url) as worker:
        worker.sees(["mode"], "live", within=5)
        worker.ask("refresh")


def verifier(password: str, iterations: int) -> str:
    """What the server stores for a password, as `scram_iterations` of PostgreSQL 16 sets it."""
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key, server_key = (
        hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key")
    )
    parts = (salt, hashlib.sha256(client_key).digest(), server_key)
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored_text}:{server_text}"


def make_role_with_iterations(database: str, iterations: int) -> str:
    """Creates a role, and returns the address for it."""
    name, password = f"iterated_{iterations}", "correct horse"
    make_role(database, name, verifier(password, iterations))
    return make_conninfo(database, user=name, password=password)


def test_password_with_as_many_scram_iterations_as_supported_is_accepted(database: str) -> None:
    with ready(make_role_with_iterations(database, 100_000)) as worker:
        worker.sees(["mode"], "live", within=5)


def test_password_with_too_many_scram_iterations_is_reported(database: str) -> None:
    url = make_role_with_iterations(database, 100_001)
    assert libpq_port(url)
    with Worker(url, STARTUP_TIMEOUT=0.2) as worker:
        assert worker.ask("ready", 0) is False
        worker.sees(["failed", 1], True, within=5)
        assert worker.ask("status")["last_error"] == (
            "connect: the log-in was refused: the password has more than 100,000 SCRAM iterations, "
            "set it again with a lower scram_iterations"
        )


ATTRS = ["any", "read-write", "primary", "read-only", "standby", "prefer-standby"]


@pytest.mark.parametrize("attrs", ATTRS)
def test_one_of_several_hosts_is_chosen_as_libpq_chooses(
    attrs: str, server: Postgres, standby: Replica, database: str
) -> None:
    both = [server.port, standby.port]
    with black_hole() as unreachable:
        for ports in ([unreachable, free_port(), *both], both[::-1]):
            url = at(database, *ports, attrs=attrs)
            with Worker(url) as worker:
                # Two rounds, if the first finds no preferred server.
                assert worker.ask("ready", seconds(2 * (DEADLINE + 1))) is True
                assert connected_ports(worker, database, *both) == [libpq_port(url)]
                worker.ask("refresh", seconds(2 * (DEADLINE + 1)))


def test_host_that_never_responds_is_skipped(
    server: Postgres, database: str, open_to_all: OpenToAll, silent: socket.socket
) -> None:
    with ready(at(database, silent.getsockname()[1], server.port)) as worker:
        worker.sees(["mode"], "live", within=5)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        worker.ask("refresh", seconds(DEADLINE + 1))


def test_missing_host_with_the_wanted_session_attrs_is_reported_without_addresses(
    server: Postgres, database: str
) -> None:
    for attrs in ("standby", "read-only"):
        url = at(database, free_port(), server.port, attrs=attrs)
        assert libpq_port(url) is None
        with Worker(url, STARTUP_TIMEOUT=0.2) as worker:
            assert worker.ask("ready", 1) is False
            worker.sees(["mode"], "down", within=3)
            assert "127.0.0.1" not in worker.ask("status")["last_error"]


def test_worker_moves_to_another_host_when_its_server_stops(
    server: Postgres, standby: Replica, database: str, open_to_all: OpenToAll
) -> None:
    both = [server.port, standby.port]
    with (
        black_hole() as unreachable,
        ready(at(database, unreachable, *both, attrs="prefer-standby")) as worker,
    ):
        assert connected_ports(worker, database, *both) == [str(standby.port)]
        worker.ask("watch", NEW_CHECKOUT)
        standby.server.stop()
        open_to_all()
        # Two rounds, each with the unreachable port, and the delay between them.
        worker.sees(NEW_CHECKOUT, True, within=2 * (2 * DEADLINE + REST))
        assert connected_ports(worker, database, server.port) == [str(server.port)]
        assert worker.ask("watched") == [False, True]
