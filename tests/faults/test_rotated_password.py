"""A password is changed: the new one is found where Django finds it, and neither is ever told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.clusters import guarded_server
from tests.workers import Worker
from tools.postgres import Postgres

OpenToAll = Callable[[], None]
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
OLD, NEW = "hunter-one", "hunter-two"
REFUSED = "connect: the log-in was refused, see USER and PASSWORD in DATABASES (SQLSTATE 28P01)"
# From the moment that the new password can be found.
FRESH = 5.0


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    with guarded_server() as server:
        yield server


@pytest.fixture
def alice(database: str) -> str:
    """The address of the database for a role with the old password."""
    execute(database, "DROP ROLE IF EXISTS alice")
    execute(database, "CREATE ROLE alice LOGIN IN ROLE pg_read_all_data")
    set_password(database, OLD)
    return make_conninfo(database, user="alice")


@pytest.fixture(params=["a backend of the project", "a password file"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path / "password", of_backend="backend" in request.param, patch=monkeypatch)


class Place:
    """Where Django finds the password."""

    def __init__(self, file: Path, patch: pytest.MonkeyPatch, *, of_backend: bool) -> None:
        self._file = file
        self._of_backend = of_backend
        patch.setenv("FLAGS_PASSWORD_FILE", str(file))
        file.touch(mode=0o600)
        self.put(OLD)

    def put(self, password: str) -> None:
        self._file.write_text(password if self._of_backend else f"*:*:*:alice:{password}\n")

    def worker(self, alice: str) -> Worker:
        if self._of_backend:
            return Worker(alice, project="tests.settings_rotating")
        return Worker(make_conninfo(alice, passfile=str(self._file)))


def execute(database: str, statement: str) -> Any:
    with psycopg.connect(database, autocommit=True) as session:
        cursor = session.execute(statement)
        return cursor.fetchone() if cursor.description else None


def set_password(database: str, password: str) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        # Encrypted here, so that the server's own log cannot have it.
        hashed = session.pgconn.encrypt_password(password.encode(), b"alice", b"scram-sha-256")
        session.execute(sql.SQL("ALTER ROLE alice PASSWORD {}").format(hashed.decode()))


def rotate(database: str) -> None:
    set_password(database, NEW)
    execute(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'",
    )


def told(worker: Worker) -> str:
    """All that the worker has to say."""
    texts = [worker.ask("status"), worker.ask("logged"), worker.ask("explain", "new_checkout")]
    try:
        worker.ask("refresh", 0.5)
    except AssertionError as error:
        texts.append(str(error))
    return json.dumps(texts)


def test_new_password_is_found_after_the_old_one_was_refused(
    place: Place, alice: str, database: str, server: Postgres, open_to_all: OpenToAll
) -> None:
    with place.worker(alice) as worker:
        assert worker.ask("ready", 10) is True
        worker.ask("watch", NEW_CHECKOUT)
        rotate(database)
        open_to_all()
        worker.sees(["failed", 3], True, within=10)
        status = worker.ask("status")
        assert (status["mode"], status["last_error"]) == ("down", REFUSED)
        said = told(worker)
        place.put(NEW)
        worker.sees(NEW_CHECKOUT, True, within=FRESH)
        worker.sees(["mode"], "live", within=1)
        assert worker.ask("watched") == [False, True]
        said += told(worker)
        names = execute(database, "SELECT string_agg(application_name, ' ') FROM pg_stat_activity")
        log = server.log.read_text()
        _, complaints = worker.end()
    assert REFUSED in said
    for text in (said, complaints, str(names), log):
        assert OLD not in text
        assert NEW not in text


def test_new_password_that_is_there_before_is_taken_at_once(
    place: Place, alice: str, database: str, open_to_all: OpenToAll
) -> None:
    with place.worker(alice) as worker:
        assert worker.ask("ready", 10) is True
        place.put(NEW)
        rotate(database)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=FRESH)


def test_short_links_take_the_new_password_too(
    place: Place, alice: str, database: str, open_to_all: OpenToAll
) -> None:
    with place.worker(alice) as worker:
        assert worker.ask("ready", 10) is True
        place.put(NEW)
        # The link goes on: who is logged in stays so.
        set_password(database, NEW)
        worker.ask("refresh")
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        status = worker.ask("status")
        assert (status["mode"], status["failures"]) == ("live", 0)
