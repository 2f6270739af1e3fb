"""Sessions with the names of workers; a test decides when they load."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import psycopg
import pytest
from django.db import connection

from flagstaff._core import RULE_FORMAT
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._workers import overview
from tests.support.reports import age_workers
from tests.support.sql import rows

TABLE = "SELECT coalesce(to_regclass('flagstaff_token')::oid, 0)"

NEWEST = """
    SELECT id, lpad(to_hex(nonce & 4294967295), 8, '0')
    FROM flagstaff_token ORDER BY id DESC LIMIT 1
"""


@final
class FakeWorker:
    """A session at the test's database with the name of a worker."""

    def __init__(  # noqa: PLR0913, PLR0917 (all optional)
        self,
        host: str = "web-1",
        pid: int = 1,
        mode: str = "L",
        database: str = "",
        options: str = "",
        table: int | None = None,
        rule_format: int | None = RULE_FORMAT,
    ) -> None:
        names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
        server: Any = {name: connection.settings_dict[key] for name, key in names.items()}
        database = database or connection.settings_dict["NAME"]
        self._session = psycopg.connect(**server, dbname=database, options=options, autocommit=True)
        self.host, self.pid, self.mode = host, pid, mode
        # A version without rules shows no format.
        self.rule_format = "" if rule_format is None else f"r{rule_format} "
        self.table = self.query(TABLE)[0][0] if table is None else table
        self.token: tuple[int, str] = (0, "00000000")
        self.show()

    @property
    def session(self) -> int:
        return self._session.info.backend_pid

    def show(self, *token: Any, **named: Any) -> None:
        """Sets the token or the mode in the session's name."""
        self.token = token or self.token
        self.mode = named.get("mode", self.mode)
        words = ("fs2", self.table, *self.token, self.mode, self.pid)
        self.set_name(" ".join(map(str, words)) + f" {self.rule_format}{self.host}")

    def load(self) -> None:
        """Shows the newest token in the table."""
        self.show(*self.query(NEWEST)[0])

    def set_name(self, name: str) -> None:
        self.query("SELECT set_config('application_name', %s, false)", name)

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        cursor = self._session.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def leave(self) -> None:
        """Ends the session, and returns when the server has noticed."""
        if self._session.closed:
            return
        pid = self.session
        self._session.close()
        while rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid):
            pass


def beat(host: str = "job-1", pid: int = 1, *, worker: str = "", **shown: Any) -> None:
    """Writes the heartbeat of a worker behind a pooler, as its poll does.

    `shown` may have the id and nonce of a token, by default the newest; a mode; a format of rules;
    and whether the next heartbeat is late.
    """
    token = shown["token"] if "token" in shown else _newest()
    [[table]] = rows(TABLE)
    words = (
        "fs2",
        table,
        *token,
        shown.get("mode", "P"),
        pid,
        shown.get("rule_format", f"r{RULE_FORMAT}"),
        host,
    )
    name = " ".join(map(str, words))
    statement = re.sub(r"\$\d", "%s", fill(sql("heartbeat_v1"), own_names(connection)))
    rows(statement, worker or f"{host} {pid}", host, pid, 5.0, 5.0, name)
    if shown.get("late"):
        age_workers(21, pid=pid)


def _newest() -> Sequence[Any]:
    """The newest token; without one, what a worker then shows."""
    found: list[Any] = rows(NEWEST)
    return found[0] if found else (0, "00000000")


Join = Callable[..., FakeWorker]


@pytest.fixture
def join() -> Iterator[Join]:
    """Connects a fake worker."""
    workers: list[FakeWorker] = []

    def join(*arguments: Any, **named: Any) -> FakeWorker:
        workers.append(FakeWorker(*arguments, **named))
        return workers[-1]

    yield join
    for worker in workers:
        worker.leave()


@pytest.fixture
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletes reports of workers, and ignores this process, whose engine may report at any time."""
    rows("DELETE FROM flagstaff_report")
    own = f" AND pid <> {os.getpid()}"
    texts = {"reporting_workers_v1": sql("reporting_workers_v1") + own}
    monkeypatch.setattr(overview, "sql", lambda name: texts.get(name) or sql(name))


@pytest.fixture
def other_token_table() -> Iterator[int]:
    """The oid of the token table of another project, in a schema of its own."""
    rows("CREATE SCHEMA other; CREATE TABLE other.flagstaff_token (id bigint)")
    [[oid]] = rows("SELECT 'other.flagstaff_token'::regclass::oid")
    yield oid
    rows("DROP SCHEMA other CASCADE")
