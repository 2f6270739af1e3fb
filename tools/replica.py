"""A streaming standby of a PostgreSQL server that can be paused and promoted."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, final

import psycopg

from tools.child import Closing, ServerError
from tools.limits import seconds
from tools.ports import LOOPBACK
from tools.postgres import Postgres
from tools.postgres_account import give_to_postgres, open_directory, remove_directory
from tools.postgres_binaries import programs

TIMEOUT = 20.0
# Its pg_basebackup also works with older servers.
NEWEST = 18


@final
class Replica(Closing):
    """A standby that follows `primary` until it is promoted.

    As a context manager it is created and started, and at the end stopped and deleted.
    """

    def __init__(self, primary: Postgres, *, settings: Mapping[str, str] | None = None) -> None:
        self._primary = primary
        self._directory = open_directory()
        self.server = Postgres(self._directory, version=primary.version, settings=settings)

    def start(self) -> None:
        """Copies the primary, and returns when the standby accepts reads."""
        self._copy()
        self.server.start()

    @property
    def port(self) -> int:
        return self.server.port

    def close(self) -> None:
        """Stops the standby, and deletes its data."""
        self.server.close()
        remove_directory(self._directory)

    def promote(self) -> None:
        """Promotes it, and returns when it accepts writes."""
        if self.ask("SELECT pg_promote(true, %s)", int(seconds(TIMEOUT))) is not True:
            raise ServerError("the standby was not promoted")

    def hold(self) -> None:
        """Pauses the replay: later changes of the primary are not visible here."""
        self.ask("SELECT pg_wal_replay_pause()")
        with psycopg.connect(self._primary.url, autocommit=True) as session:

            def is_paused() -> bool:
                # The pause begins with the next WAL record, so write one.
                session.execute("SELECT pg_logical_emit_message(false, 'flagstaff', '')")
                return bool(self.ask("SELECT pg_get_wal_replay_pause_state() = 'paused'"))

            _wait(is_paused)

    def go_on(self) -> None:
        """Resumes the replay after `hold`."""
        self.ask("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Returns when everything that the primary has committed is visible here."""
        options = "-c synchronous_commit=on"
        with psycopg.connect(self._primary.url, autocommit=True, options=options) as session:
            # This commit flushes earlier asynchronous commits, and so sends them to the standby.
            session.execute("SELECT pg_logical_emit_message(true, 'flagstaff', '')")
            newest = session.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        reached = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        _wait(lambda: bool(self.ask(reached, *newest or ())))

    def ask(self, statement: str, *parameters: object) -> Any:
        """Returns the first column of a query on the standby."""
        with psycopg.connect(self.server.url, autocommit=True) as session:
            row = session.execute(statement, parameters or None).fetchone()
        return row and row[0]

    def _copy(self) -> None:
        data = self._directory / "data"
        where = ["--host", LOOPBACK, "--port", str(self._primary.port), "--username", "postgres"]
        how = ["--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        made = subprocess.run(
            [programs(NEWEST) / "pg_basebackup", "--pgdata", data, *where, *how],
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if made.returncode != 0:
            raise ServerError(f"pg_basebackup failed:\n{made.stderr}")
        # Written here, because a newer pg_basebackup writes settings that an older server rejects.
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as settings:
            address = f"host={LOOPBACK} port={self._primary.port} user=postgres"
            settings.write(f"primary_conninfo = '{address}'\n")
        for path in (data, *data.rglob("*")):
            give_to_postgres(path)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds(TIMEOUT)
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError("the standby takes too long")
        time.sleep(0.01)
