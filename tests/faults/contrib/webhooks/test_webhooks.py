"""Each message at least once and in order: senders are killed, and commits come in any order."""

import json
import random
import threading
from typing import Any

import psycopg
import pytest

from tests.faults.job_loops import RUN_JOBS, running_loop
from tests.support.clusters import at
from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.repeats import repeats
from tests.support.webhooks import Received, Webhook
from tools.limits import seconds
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

FLAGS = [f"flag_{number}" for number in range(5)]


def settings_of(hook: Webhook) -> str:
    return json.dumps({"WEBHOOKS": {"ops": hook.settings()}})


def run_once(url: str, hook: Webhook) -> dict[str, Any]:
    """Runs the jobs once in a process of its own, and returns the receiver's report."""
    ran = run_python(url, *RUN_JOBS, "--json", FLAGSTAFF=settings_of(hook))
    [report] = json.loads(ran.stdout)["deliveries"]
    return dict(report)


def write(url: str, changes: int, seed: int) -> None:
    """Changes two flags per transaction, in one lock order; some are slow, some roll back."""
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


@pytest.fixture(autouse=True)
def flags(query: Query) -> None:
    for key in FLAGS:
        query("INSERT INTO flagstaff_featureflag (key, rollout_percent) VALUES (%s, 1)", key)


class HoldNth:
    """Responds with some failures. Holds every nth response back until the sender is killed."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._left = n
        self._dice = random.Random(1)
        self._lock = threading.Lock()
        self.is_holding = threading.Event()
        self.sender_killed = threading.Event()

    def __call__(self, _: Received) -> tuple[int, dict[str, str]]:
        with self._lock:
            self._left -= 1
            is_held = self._left == 0
            status = 200 if is_held or self._dice.random() < 0.8 else 500
        if is_held:
            self.is_holding.set()
            assert self.sender_killed.wait(seconds(30))
        return status, {}

    def reset(self) -> None:
        """Starts to count to the next held response."""
        with self._lock:
            self._left = self._n
        self.is_holding.clear()
        self.sender_killed.clear()


ROUNDS = repeats(8, 3)


@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_killed_senders_lose_no_message_and_keep_the_order(
    database: str, query: Query, hook: Webhook
) -> None:
    run_once(database, hook)
    hook.respond = responses = HoldNth(10)
    make_due = "UPDATE flagstaff_webhooks_delivery SET due_at = now()"
    for round_ in range(ROUNDS):
        responses.reset()
        settings = settings_of(hook)
        with running_loop(database, settings) as first, running_loop(database, settings) as other:
            for process in (first, other):
                assert process.stderr
                process.stderr.readline()
            writers = [
                threading.Thread(target=write, args=(database, 5, 10 * round_ + number))
                for number in range(3)
            ]
            for writer in writers:
                writer.start()
            while not responses.is_holding.wait(0.05):
                # Refused messages are due at once.
                query(make_due)
            for process in (first, other):
                process.kill()
                process.wait()
            responses.sender_killed.set()
            for writer in writers:
                writer.join()
        # The claims of the killed senders end.
        query("UPDATE flagstaff_webhooks_delivery SET claim_expires_at = NULL")
    hook.respond_with(200)
    while run_once(database, hook)["pending"]:
        query(make_due)
    [expected] = query(
        "SELECT json_object_agg(key, ids) FROM (SELECT key, json_agg(id ORDER BY id) AS ids "
        "FROM flagstaff_change WHERE action = 'update' GROUP BY key) AS flags"
    )
    # By flag, in the order in which they first arrived.
    arrived: dict[str, dict[int, None]] = {key: {} for key in FLAGS}
    for received in hook.accepted:
        arrived[received.data["key"]].setdefault(received.data["version"])
    assert {key: [*versions] for key, versions in arrived.items()} == expected
    accepted, messages = len(hook.accepted), sum(map(len, expected.values()))
    assert ROUNDS <= accepted - messages <= 2 * ROUNDS
    print(f"{messages} messages, {accepted - messages} of them twice, {2 * ROUNDS} kills")
    print(f"{len(hook.received) - accepted} refusals")


def test_run_behind_pgbouncer_in_transaction_mode_holds_no_backend(
    server: Postgres, database: str, query: Query, hook: Webhook
) -> None:
    with PgBouncer(server.port, settings={"default_pool_size": "1"}) as pooler:
        url = at(database, pooler.port)
        run_once(url, hook)
        hook.hangs.set()
        query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_1'")
        with running_loop(url, settings_of(hook)):
            assert hook.requested.wait(seconds(20))
            # The pooler's only backend is free while the receiver hangs.
            with psycopg.connect(url, autocommit=True) as session:
                session.execute("SET statement_timeout = '2s'")
                done = session.execute("UPDATE flagstaff_featureflag SET rollout_percent = 2")
                assert done.rowcount == 6
            hook.hangs.clear()
            hook.released.set()


def test_loop_continues_after_a_database_outage(
    server: Postgres, database: str, query: Query, hook: Webhook
) -> None:
    run_once(database, hook)
    with running_loop(database, settings_of(hook)) as process:
        assert process.stderr
        assert process.stderr.readline() == "running jobs\n"
        server.stop()
        message = process.stderr.readline()
        server.start()
        query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_1'")
        assert hook.requested.wait(seconds(20))
    # Whichever job runs first.
    assert message.endswith(": database error, will try again: OperationalError\n")
    assert hook.received[0].data["key"] == "flag_1"


@pytest.mark.parametrize("entries", [repeats(300_000, 60_000)])
def test_run_does_not_scan_a_long_history(
    database: str, query: Query, hook: Webhook, entries: int
) -> None:
    query(
        "INSERT INTO flagstaff_change (relation, object_pk, key, action, old, new, transaction_id) "
        "SELECT 'f', n %% 100, 'flag_' || n %% 100, 'update', '{}', '{}', n "
        "FROM generate_series(1, %s) AS n",
        entries,
    )
    query("ANALYZE flagstaff_change")
    run_once(database, hook)
    # The number of an open transaction has to be looked up.
    with psycopg.connect(database) as session:
        session.execute("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_1'")
        run_once(database, hook)
        query("SELECT pg_stat_reset()")
        query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'flag_2'")
        assert run_once(database, hook)["delivered"] == 1
        session.commit()
    assert run_once(database, hook)["delivered"] == 1
    query("SELECT pg_stat_force_next_flush()")
    [scans] = query("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'flagstaff_change'")
    assert scans == 0
