"""Six concurrent writers: every snapshot is a committed state of the database.

Equal token sets mean equal rows, and after the last commit the workers equal the database.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.db import connection

from flagstaff._tables.database import fill, names, sql
from tests.faults.slot_writers import ALLOWED_USERS, FLAGS, TABLES, VALUES, Writer
from tests.faults.slots import USERS, start_watching, state, stop_watching
from tests.support.repeats import repeats
from tests.support.sql import insert_users
from tests.support.workers import Worker, calling

SECONDS = repeats(60, 15)
ROUNDS = 6
WRITERS = 6
POLL_INTERVAL = 0.3
# Seconds after the last commit: one on an idle machine.
CONVERGED = 1.0 * 2
KINDS = ("_write_one", "_write_two", "_write_in_savepoints", "_delete", "_refill", "rolled_back")
ROWS = f"""
    SELECT 'f', key, rollout_percent::text FROM {FLAGS}
    UNION ALL SELECT 'm', f.key, a.user_id::text FROM {ALLOWED_USERS} AS a
        JOIN {FLAGS} AS f ON f.id = a.featureflag_id
    UNION ALL SELECT 'k', key, value::text FROM {VALUES}
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def slots(database: str) -> str:
    """A database with users, and without flags and values."""
    with psycopg.connect(database) as session:
        session.execute(f"TRUNCATE {TABLES}".encode())
        session.execute(insert_users(1, len(USERS)).encode())
    return database


class Reader:
    """Reads as a load does, and compares the rows that have the same token set."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._statement = fill(sql("poll_tokens_v1"), names(connection)).encode()
        self._stop = threading.Event()
        self.reads = 0

    def read(self, known: dict[str, Any], lock: threading.Lock) -> list[Any]:
        """Reads until `stop` is called, and returns token sets with different rows."""
        wrong = []
        with closing(psycopg.connect(self._database)) as session:
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not self._stop.is_set():
                with session.transaction():
                    session.execute(f"LOCK TABLE {TABLES} IN ACCESS SHARE MODE".encode())
                    token_set = str(sorted(session.execute(self._statement).fetchall()))
                    rows = session.execute(ROWS.encode()).fetchall()
                with lock:
                    if known.setdefault(token_set, rows) != rows:
                        wrong.append((token_set, known[token_set], rows))
                self.reads += 1
        return wrong

    def stop(self) -> None:
        self._stop.set()


def stored_slots(database: str) -> dict[str, Any]:
    with psycopg.connect(database) as session:
        flags = session.execute(
            f"SELECT key, rollout_percent, array(SELECT user_id FROM {ALLOWED_USERS} AS a"
            f" WHERE a.featureflag_id = f.id ORDER BY 1) FROM {FLAGS} AS f".encode()
        )
        return {key: {"rollout": rollout, "users": users} for key, rollout, users in flags}


def write_for(seconds: float, writers: list[Writer]) -> None:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(len(writers)) as threads:
        for done in [threads.submit(writer.write, until) for writer in writers]:
            done.result()


@pytest.mark.timeout(SECONDS * 3)
def test_snapshot_during_concurrent_writes_is_consistent_and_converges(slots: str) -> None:
    writers = [Writer(slots, seed) for seed in range(WRITERS)]
    with (
        Worker(slots).loaded() as listening,
        Worker(slots, LISTEN=False, POLL_INTERVAL=POLL_INTERVAL).loaded() as polling,
    ):
        for worker in (listening, polling):
            worker.call(start_watching)
        for _ in range(ROUNDS):
            write_for(SECONDS / ROUNDS, writers)
            expected = stored_slots(slots)
            for worker in (listening, polling):
                worker.sees(calling(state), expected, within=CONVERGED)
        for worker in (listening, polling):
            snapshots, inconsistent = worker.call(stop_watching)
            assert inconsistent == []
            assert snapshots > SECONDS
    close(writers)


@pytest.mark.timeout(SECONDS * 3)
def test_equal_token_sets_mean_equal_rows(slots: str) -> None:
    writers = [Writer(slots, seed) for seed in range(WRITERS)]
    readers = [Reader(slots) for _ in range(2)]
    known: dict[str, Any] = {}
    lock = threading.Lock()
    with ThreadPoolExecutor(len(readers)) as threads:
        reading = [threads.submit(reader.read, known, lock) for reader in readers]
        try:
            write_for(SECONDS / 2, writers)
            # On a busy machine it takes longer until there is something to compare: token sets
            # that were read more than once.
            while (count := len(known)) <= 100 or sum(
                reader.reads for reader in readers
            ) <= count + 10:
                write_for(0.5, writers)
        finally:
            for reader in readers:
                reader.stop()
        assert [done.result() for done in reading] == [[], []]
    close(writers)


def close(writers: list[Writer]) -> None:
    """Closes the writers, once each kind of write has committed, also on a busy machine."""

    def count(kind: str) -> int:
        return sum(writer.done[kind] for writer in writers)

    while not all(map(count, KINDS)):
        write_for(0.5, writers)
    for writer in writers:
        writer.close()
