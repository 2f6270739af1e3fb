"""A rotated password is found where Django finds it, and passwords are never shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.clusters import guarded_server
from tests.support.fixtures import OpenToAll, execute
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.postgres import Postgres

OLD, NEW = "hunter-one", "hunter-two"
REFUSED = "(SQLSTATE 28P01)"
# Seconds after the new password is available.
RECOVERED = 5.0


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


@pytest.fixture(params=["database backend", "password file"])
def password(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PasswordSource:
    in_backend = "backend" in request.param
    return PasswordSource(tmp_path / "password", in_backend=in_backend, patch=monkeypatch)


class PasswordSource:
    """The file from which a database backend or libpq reads the password."""

    def __init__(self, file: Path, patch: pytest.MonkeyPatch, *, in_backend: bool) -> None:
        self._file = file
        self._in_backend = in_backend
        patch.setenv("FLAGS_PASSWORD_FILE", str(file))
        file.touch(mode=0o600)
        self.set(OLD)

    def set(self, password: str) -> None:
        self._file.write_text(password if self._in_backend else f"*:*:*:alice:{password}\n")

    def worker(self, alice: str) -> Worker:
        if self._in_backend:
            return Worker(alice, project="tests.support.settings_rotating")
        return Worker(make_conninfo(alice, passfile=str(self._file)))


def set_password(database: str, password: str) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        # Encrypted by the client, so that the server's log cannot contain it.
        hashed = session.pgconn.encrypt_password(password.encode(), b"alice", b"scram-sha-256")
        session.execute(sql.SQL("ALTER ROLE alice PASSWORD {}").format(hashed.decode()))


def rotate(database: str) -> None:
    set_password(database, NEW)
    execute(
        database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'"
    )


def all_output(worker: Worker) -> str:
    """Returns the status, the log, an explanation and an error of the worker."""
    texts = [worker.ask("status"), worker.ask("logged"), worker.ask("explain", "new_checkout")]
    try:
        worker.ask("refresh", 0.5)
    except AssertionError as error:
        texts.append(str(error))
    return json.dumps(texts)


def test_new_password_is_used_after_the_old_one_was_rejected(
    password: PasswordSource, alice: str, database: str, server: Postgres, open_to_all: OpenToAll
) -> None:
    with password.worker(alice).loaded() as worker:
        worker.ask("watch", NEW_CHECKOUT)
        rotate(database)
        open_to_all()
        worker.sees(["failed", 3], True, within=10)
        status = worker.ask("status")
        assert status["mode"] == "down"
        assert status["last_error"].endswith(REFUSED)
        output = all_output(worker)
        password.set(NEW)
        worker.sees(NEW_CHECKOUT, True, within=RECOVERED)
        worker.sees(["mode"], "live", within=5)
        assert worker.ask("watched") == [False, True]
        output += all_output(worker)
        names = execute(database, "SELECT string_agg(application_name, ' ') FROM pg_stat_activity")
        log = server.log.read_text()
        _, errors = worker.end()
    assert REFUSED in output
    for text in (output, errors, str(names), log):
        assert OLD not in text
        assert NEW not in text


def test_new_password_available_before_the_rotation_is_used_at_once(
    password: PasswordSource, alice: str, database: str, open_to_all: OpenToAll
) -> None:
    with password.worker(alice).loaded() as worker:
        password.set(NEW)
        rotate(database)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=RECOVERED)


def test_pool_connection_uses_the_new_password(
    password: PasswordSource, alice: str, database: str, open_to_all: OpenToAll
) -> None:
    with password.worker(alice).loaded() as worker:
        password.set(NEW)
        # The open session stays.
        set_password(database, NEW)
        worker.ask("refresh")
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        status = worker.ask("status")
        assert (status["mode"], status["failures"]) == ("live", 0)
