"""Sessions that report as workers do; a test decides when they load."""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, final

import psycopg
import pytest
from django.db import connection

from flagstaff._core import RULE_FORMAT
from flagstaff._workers.register import Worker
from tests.support.sessions import within
from tests.support.sql import rows
from tools.limits import SERVER

NEWEST = "SELECT id, nonce FROM flagstaff_token ORDER BY id DESC LIMIT 1"
_SESSIONS = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'flagstaff%'
"""
_REPORT = "SELECT flagstaff_worker_v1(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


@final
class FakeWorker:
    """A session at the test's database with the name of an engine's."""

    def __init__(
        self,
        host: str = "web-1",
        pid: int = 1,
        mode: str = "live",
        *,
        rule_format: int = RULE_FORMAT,
        is_pooled: bool = False,
        **parameters: str,
    ) -> None:
        names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
        server: Any = {name: connection.settings_dict[key] for name, key in names.items()}
        server |= {"dbname": connection.settings_dict["NAME"], "application_name": "flagstaff"}
        self._session = psycopg.connect(**(server | parameters), autocommit=True)
        self.host, self.pid, self.mode = host, pid, mode
        self.rule_format, self.is_pooled = rule_format, is_pooled
        #: That of a worker behind replication; None for others.
        self.region: str | None = None
        #: The system identifier and the timeline of the server that it reads.
        self.server = ("", 0)
        self.secret = uuid.uuid4().hex

    @property
    def session(self) -> int:
        return self._session.info.backend_pid

    def report(self, token: int = 0, nonce: int = 0, mode: str = "", interval: float = 5.0) -> None:
        """Writes its row, with a token or the mode "ended"."""
        shown = (self.secret, self.host, self.pid, self.rule_format, mode or self.mode)
        place = (self.region or "", self.region is not None)
        self.query(_REPORT, *shown, token, nonce, self.is_pooled, interval, *place, *self.server)

    def load(self) -> None:
        """Reports the newest token in the table."""
        self.report(*self.query(NEWEST)[0])

    def end(self) -> None:
        """Deletes its row, and ends the session."""
        if not self._session.closed:
            self.report(mode="ended")
        self.leave()

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


def registered_worker(host: str, pid: int) -> Worker:
    """A worker as the register shows it."""
    started = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
    return Worker(
        *(f"{host} {pid}", host, pid, "live", RULE_FORMAT, 0, 99),
        *(started, 1.0, True, False, None),
    )


def let_pass(seconds: float) -> None:
    """Makes the last report of each worker older, as if this time had passed."""
    rows(
        "UPDATE flagstaff_worker SET seen_at = seen_at - by.time, expected_by = expected_by - "
        "by.time FROM (SELECT make_interval(secs => %s)) AS by (time)",
        seconds,
    )


Join = Callable[..., FakeWorker]


@pytest.fixture
def join() -> Iterator[Join]:
    """Connects a fake worker, which has applied no token, or does not report at all."""
    # The session of an engine may end some time after its test, and would count as a worker.
    assert within(SERVER, lambda: rows(_SESSIONS) == [])
    workers: list[FakeWorker] = []

    def join(*arguments: Any, reports: bool = True, **named: Any) -> FakeWorker:
        workers.append(FakeWorker(*arguments, **named))
        if reports:
            workers[-1].report()
        return workers[-1]

    yield join
    for worker in workers:
        worker.leave()
    rows("DELETE FROM flagstaff_worker")
