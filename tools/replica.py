"""A streaming standby of a PostgreSQL of ours: it can be promoted, and held back."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, final

import psycopg

from tools.closing import Closing
from tools.ports import LOOPBACK
from tools.postgres import Postgres
from tools.postgres_account import hand_over, open_directory, remove_directory
from tools.postgres_binaries import programs

PATIENCE = 20.0
# Its pg_basebackup serves older servers as well.
NEWEST = 18


class ReplicaError(RuntimeError):
    """The standby did not do what it was asked to."""


@final
class Replica(Closing):
    """A copy of `primary` that follows it, until it is promoted.

    As a context manager it is made and started and, at the end, stopped and deleted.
    """

    def __init__(self, primary: Postgres, *, settings: Mapping[str, str] | None = None) -> None:
        self._primary = primary
        self._directory = open_directory()
        self.server = Postgres(self._directory, version=primary.version, settings=settings)

    def start(self) -> None:
        """Copy the primary, and return when reads are taken."""
        self._copy()
        self.server.start()

    @property
    def port(self) -> int:
        return self.server.port

    def close(self) -> None:
        """Stop, and delete its data."""
        self.server.close()
        remove_directory(self._directory)

    def promote(self) -> None:
        """Return when it takes writes."""
        if self.ask("SELECT pg_promote(true, %s)", int(PATIENCE)) is not True:
            raise ReplicaError("the standby was not promoted")

    def hold(self) -> None:
        """Keep it as it is: what the primary does from now on is not to be seen here."""
        self.ask("SELECT pg_wal_replay_pause()")
        with psycopg.connect(self._primary.url, autocommit=True) as session:

            def is_held() -> bool:
                # The pause begins when the next piece of WAL comes, and so it is given one.
                session.execute("SELECT pg_logical_emit_message(false, 'flagstaff', '')")
                return bool(self.ask("SELECT pg_get_wal_replay_pause_state() = 'paused'"))

            _wait(is_held)

    def go_on(self) -> None:
        """End `hold`."""
        self.ask("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Return when all that the primary has committed is to be seen here."""
        options = "-c synchronous_commit=on"
        with psycopg.connect(self._primary.url, autocommit=True, options=options) as session:
            # Its commit takes to the disk, and so to the standby, what was not waited for before.
            session.execute("SELECT pg_logical_emit_message(true, 'flagstaff', '')")
            newest = session.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        reached = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        _wait(lambda: bool(self.ask(reached, *newest or ())))

    def ask(self, statement: str, *parameters: object) -> Any:
        """What one statement gives here."""
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
            raise ReplicaError(f"pg_basebackup failed:\n{made.stderr}")
        # Written here: a newer pg_basebackup writes what an older server does not know.
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as settings:
            address = f"host={LOOPBACK} port={self._primary.port} user=postgres"
            settings.write(f"primary_conninfo = '{address}'\n")
        for path in (data, *data.rglob("*")):
            hand_over(path)


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise ReplicaError("the standby takes too long")
        time.sleep(0.01)
