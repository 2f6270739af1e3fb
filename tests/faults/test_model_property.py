"""Six who write in every way at once, and whoever reads: each moment is one that was.

The same fingerprint means the same rows, always; and when all is quiet, workers have what the
database has.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.db import connection

from flagstaff._tables.names import fill, names, sql
from tests.faults.slot_writers import FLAGS, LISTS, TABLES, VALUES, Writer
from tests.faults.slots import USERS
from tests.repeats import repeats
from tests.workers import Worker

SECONDS = repeats(60, 15)
ROUNDS = 6
WRITERS = 6
POLL_INTERVAL = 0.3
# One second is wanted of a machine that has nothing else to do.
QUIET = 1.0 * 2
ROWS = f"""
    SELECT 'f', key, rollout_percent::text FROM {FLAGS}
    UNION ALL SELECT 'm', f.key, a.user_id::text FROM {LISTS} AS a
        JOIN {FLAGS} AS f ON f.id = a.featureflag_id
    UNION ALL SELECT 'k', key, value::text FROM {VALUES}
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def slots(database: str) -> str:
    """A database with users for the lists, and with nothing else."""
    with psycopg.connect(database) as session:
        session.execute(f"TRUNCATE {TABLES}".encode())
        session.execute(
            "INSERT INTO auth_user (id, username, password, first_name, last_name, email,"
            " is_superuser, is_staff, is_active, date_joined)"
            " SELECT id, 'user_' || id, '', '', '', '', false, false, true, now()"
            " FROM generate_series(1, %s) AS id",
            [len(USERS)],
        )
    return database


class Reader:
    """Reads as a load does, and remembers which rows there were with each fingerprint."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._fingerprint = fill(sql("token_set_v1"), names(connection)).encode()
        self._stop = threading.Event()
        self.reads = 0

    def read(self, known: dict[str, Any], lock: threading.Lock) -> list[Any]:
        """Read until told to stop; what contradicts what was read before."""
        wrong = []
        with closing(psycopg.connect(self._database)) as session:
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not self._stop.is_set():
                with session.transaction():
                    session.execute(f"LOCK TABLE {TABLES} IN ACCESS SHARE MODE".encode())
                    fingerprint = str(sorted(session.execute(self._fingerprint).fetchall()))
                    rows = session.execute(ROWS.encode()).fetchall()
                with lock:
                    if known.setdefault(fingerprint, rows) != rows:
                        wrong.append((fingerprint, known[fingerprint], rows))
                self.reads += 1
        return wrong

    def stop(self) -> None:
        self._stop.set()


def truth(database: str) -> dict[str, Any]:
    """The slots as the database has them."""
    with psycopg.connect(database) as session:
        found = session.execute(
            f"SELECT key, rollout_percent, array(SELECT user_id FROM {LISTS} AS a"
            f" WHERE a.featureflag_id = f.id ORDER BY 1) FROM {FLAGS} AS f".encode()
        )
        return {key: {"rollout": rollout, "users": users} for key, rollout, users in found}


def write_for(seconds: float, writers: list[Writer]) -> None:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(len(writers)) as threads:
        for done in [threads.submit(writer.write, until) for writer in writers]:
            done.result()


@pytest.mark.timeout(SECONDS * 3)
def test_every_moment_is_one_that_was_and_the_last_is_that_of_the_database(slots: str) -> None:
    writers = [Writer(slots, seed) for seed in range(WRITERS)]
    with (
        Worker(slots) as told,
        Worker(slots, LISTEN=False, POLL_INTERVAL=POLL_INTERVAL) as polls,
    ):
        for worker in (told, polls):
            assert worker.ask("ready", 10) is True
            worker.ask("call", "tests.faults.slots.watch")
        for _ in range(ROUNDS):
            write_for(SECONDS / ROUNDS, writers)
            expected = truth(slots)
            for worker in (told, polls):
                worker.sees(["call", "tests.faults.slots.state"], expected, within=QUIET)
        for worker in (told, polls):
            moments, contradictions = worker.ask("call", "tests.faults.slots.watched")
            assert contradictions == []
            assert moments > SECONDS
    close(writers, least=100)


@pytest.mark.timeout(SECONDS * 3)
def test_the_same_fingerprint_means_the_same_rows(slots: str) -> None:
    writers = [Writer(slots, seed) for seed in range(WRITERS)]
    readers = [Reader(slots) for _ in range(2)]
    known: dict[str, Any] = {}
    lock = threading.Lock()
    with ThreadPoolExecutor(len(readers)) as threads:
        looking = [threads.submit(reader.read, known, lock) for reader in readers]
        try:
            write_for(SECONDS / 2, writers)
        finally:
            for reader in readers:
                reader.stop()
        assert [look.result() for look in looking] == [[], []]
    assert len(known) > 100
    # Many a set of tokens was read more than once, or nothing has been compared.
    assert sum(reader.reads for reader in readers) > len(known) + 10
    close(writers, least=100)


def close(writers: list[Writer], *, least: int) -> None:
    """Each way must have been gone, or the test has shown nothing of it."""
    done: Counter[str] = Counter()
    for writer in writers:
        done += writer.done
        writer.close()
    assert sum(done.values()) > least
    for way in ("_write_one", "_write_two", "_try_in_savepoints", "_delete", "_refill", "undone"):
        assert done[way], done
