"""Each message once or more and in order: senders are killed, and commits come in any order."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.clusters import at
from tests.conftest import ROOT
from tests.webhooks import Received, Webhook
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

Query = Callable[..., Any]
FLAGS = [f"flag_{number}" for number in range(5)]


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.manage_with", "flags", "run-jobs", *arguments]


def surroundings(url: str, hook: Webhook) -> dict[str, str]:
    settings = {"WEBHOOKS": {"ops": hook.settings()}}
    return os.environ | {"DATABASE_URL": url, "FLAGSTAFF": json.dumps(settings)}


def tick(url: str, hook: Webhook) -> dict[str, Any]:
    """One tick in a process of its own; what it told of the receiver."""
    ran = subprocess.run(
        command("--json"),
        cwd=ROOT,
        env=surroundings(url, hook),
        check=True,
        capture_output=True,
        timeout=60,
    )
    [told] = json.loads(ran.stdout)
    return dict(told)


@contextmanager
def ticking(url: str, hook: Webhook, interval: str = "0.01") -> Iterator[subprocess.Popen[str]]:
    """A process that ticks again and again, until it is killed."""
    process = subprocess.Popen(
        command("--loop", interval),
        cwd=ROOT,
        env=surroundings(url, hook),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write(url: str, changes: int, seed: int) -> None:
    """Change two flags in a transaction, in one order, some of them long and some in vain."""
    dice = random.Random(seed)
    with psycopg.connect(url, autocommit=True) as session:
        for number in range(changes):
            session.execute("BEGIN")
            for key in sorted(dice.sample(FLAGS, 2)):
                session.execute(
                    "UPDATE flagstaff_featureflag "
                    "SET rollout_percent = (rollout_percent + 1) %% 100 WHERE key = %s",
                    [key],
                )
                session.execute("SELECT pg_sleep(%s)", [dice.random() / 100])
            session.execute("ROLLBACK" if number % 7 == 0 else "COMMIT")


def first_versions(taken: list[Received]) -> dict[str, list[int]]:
    """The versions of each flag in the order in which they first added."""
    found: dict[str, list[int]] = {key: [] for key in FLAGS}
    for received in taken:
        versions = found[received.data["key"]]
        if received.data["version"] not in versions:
            versions.append(received.data["version"])
    return found


def make_flags(query: Query) -> None:
    for key in FLAGS:
        query("INSERT INTO flagstaff_featureflag (key, rollout_percent) VALUES (%s, 1)", key)


class Ambush:
    """A receiver that answers when the sender is dead, each time that so many messages added."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._left = every
        self._dice = random.Random(1)
        self._lock = threading.Lock()
        self.waits = threading.Event()
        self.done = threading.Event()

    def __call__(self, _: Received) -> tuple[int, dict[str, str]]:
        with self._lock:
            self._left -= 1
            is_the_one = self._left == 0
            status = 200 if is_the_one or self._dice.random() < 0.8 else 500
        if is_the_one:
            self.waits.set()
            assert self.done.wait(30)
        return status, {}

    def again(self) -> None:
        """Let the sender of some message be killed that is still to come."""
        with self._lock:
            self._left = self._every
        self.waits.clear()
        self.done.clear()


ROUNDS = 8


@pytest.mark.timeout(120)
def test_senders_that_are_killed_lose_nothing_and_keep_the_order(
    database: str, query: Query, hook: Webhook
) -> None:
    make_flags(query)
    tick(database, hook)
    hook.answer = ambush = Ambush(every=10)
    due = "UPDATE flagstaff_delivery SET due_at = now()"
    for round_ in range(ROUNDS):
        ambush.again()
        with ticking(database, hook) as one, ticking(database, hook) as other:
            for process in (one, other):
                assert process.stderr
                process.stderr.readline()
            writers = [
                threading.Thread(target=write, args=(database, 5, 10 * round_ + number))
                for number in range(3)
            ]
            for writer in writers:
                writer.start()
            while not ambush.waits.wait(0.05):
                # What was refused is due at once.
                query(due)
            for process in (one, other):
                process.kill()
                process.wait()
            ambush.done.set()
            for writer in writers:
                writer.join()
        # Nobody is at it any more.
        query("UPDATE flagstaff_delivery SET claimed_until = NULL")
    hook.says(200)
    while tick(database, hook)["pending"]:
        query(due)
    [made] = query(
        "SELECT json_object_agg(key, ids) FROM (SELECT key, json_agg(id ORDER BY id) AS ids "
        "FROM flagstaff_change WHERE action = 'update' GROUP BY key) AS flags"
    )
    assert first_versions(hook.taken) == made
    sent, messages = len(hook.taken), sum(map(len, made.values()))
    assert ROUNDS <= sent - messages <= 2 * ROUNDS
    print(f"{messages} messages, {sent - messages} of them twice, {2 * ROUNDS} kills")
    print(f"{len(hook.received) - sent} refusals")


def test_ticks_go_through_a_pooler_in_transaction_mode(
    server: Postgres, database: str, query: Query, hook: Webhook
) -> None:
    make_flags(query)
    with PgBouncer(server.port, settings={"default_pool_size": "1"}) as pooler:
        url = at(database, pooler.port)
        tick(url, hook)
        hook.hangs.set()
        query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_1'")
        with ticking(url, hook):
            assert hook.asked.wait(20)
            # The one backend of the pooler is free while the receiver hangs.
            with psycopg.connect(url, autocommit=True) as session:
                session.execute("SET statement_timeout = '2s'")
                done = session.execute("UPDATE flagstaff_featureflag SET rollout_percent = 2")
                assert done.rowcount == 6
            hook.hangs.clear()
            hook.released.set()


def test_loop_goes_on_after_an_outage_of_the_database(
    server: Postgres, database: str, query: Query, hook: Webhook
) -> None:
    make_flags(query)
    tick(database, hook)
    with ticking(database, hook) as process:
        assert process.stderr
        assert process.stderr.readline() == "telling the receivers; Ctrl-C ends it\n"
        server.stop()
        told = process.stderr.readline()
        server.start()
        query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_1'")
        assert hook.asked.wait(20)
    assert told == "the database does not do it: OperationalError\n"
    assert hook.received[0].data["key"] == "flag_1"


@pytest.mark.parametrize("entries", [300_000])
def test_tick_is_not_slower_with_a_long_history(
    database: str, query: Query, hook: Webhook, entries: int
) -> None:
    query(
        "INSERT INTO flagstaff_change (relation, object_pk, key, action, old, new, transaction_id) "
        "SELECT 'f', n %% 100, 'flag_' || n %% 100, 'update', '{}', '{}', n "
        "FROM generate_series(1, %s) AS n",
        entries,
    )
    make_flags(query)
    query("ANALYZE flagstaff_change")
    tick(database, hook)
    # A transaction is open, so that its number has to be looked for.
    with psycopg.connect(database) as session:
        session.execute("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_1'")
        tick(database, hook)
        query("SELECT pg_stat_reset()")
        query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_2'")
        assert tick(database, hook)["delivered"] == 1
        session.commit()
    assert tick(database, hook)["delivered"] == 1
    query("SELECT pg_stat_force_next_flush()")
    [scans] = query("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'flagstaff_change'")
    assert scans == 0
