"""`wait_for_workers` counts exactly the workers that have applied a change."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.faults import propagation
from tests.support.conditions import condition
from tests.support.fixtures import Query
from tests.support.proxy import Proxy
from tests.support.python_processes import STRICT, run_python
from tests.support.repeats import repeats
from tests.support.terminals import ok
from tests.support.workers import NEW_CHECKOUT, Worker, calling, suspended
from tools.limits import seconds
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres
from tools.token_triggers import always

# Ten processes take long to start and to stop.
pytestmark = pytest.mark.timeout(180)

WORKERS = 10
CHANGES = repeats(200, 60)

# What keeps workers from writing their rows, and what status() says then.
FAULTS = {
    "no right": (
        "REVOKE EXECUTE ON FUNCTION flagstaff_worker_v1 FROM web",
        "GRANT EXECUTE ON FUNCTION flagstaff_worker_v1 to it",
    ),
    "no function": (
        "ALTER FUNCTION flagstaff_worker_v1 RENAME TO hidden",
        'run "manage.py migrate"',
    ),
    "read-only": ("ALTER ROLE web SET default_transaction_read_only = on", "is read-only"),
    "locked": ("LOCK TABLE flagstaff_worker", "a table is locked by another session"),
    # What PostgreSQL raises, without a disk that is full.
    "full disk": (
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON flagstaff_worker
        EXECUTE FUNCTION full_disk()
        """,
        "the server refused a statement",
    ),
}

Record = Callable[[str, object], None]


@pytest.fixture
def workers(database: str, proxy: Proxy) -> Iterator[list[Worker]]:
    """Ten workers; the last connects through the proxy."""
    urls = [*[database] * (WORKERS - 1), proxy.url]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(url)) for url in urls]
        for worker in workers:
            worker.send("ready", 30)
        assert [worker.receive() for worker in workers] == [True] * WORKERS
        yield workers
        proxy.resume()


@pytest.fixture
def caller(database: str) -> Iterator[Worker]:
    """A process that waits for the workers, and evaluates nothing itself."""
    with Worker(database) as caller:
        yield caller


def pids_of(*workers: Worker) -> list[int]:
    return sorted(worker.pid for worker in workers)


def pids(listed: list[dict[str, Any]]) -> list[int]:
    return sorted(worker["pid"] for worker in listed)


def counts(outcome: dict[str, Any]) -> tuple[int, int, int, int]:
    """The numbers of workers that applied it, are pending, do not report, and are missing."""
    return outcome["applied"], len(outcome["pending"]), outcome["unreported"], outcome["missing"]


@pytest.mark.smoke
def test_wait_lists_two_hung_workers_and_one_without_a_connection_of_ten(
    database: str, workers: list[Worker], proxy: Proxy, caller: Worker, query: Query
) -> None:
    hung, cut_off = workers[:2], workers[-1]
    before = caller.call(propagation.wait_for_workers, 10, WORKERS)
    assert (before["complete"], counts(before)) == (True, (10, 0, 0, 0))
    with suspended(*hung):
        proxy.stop()
        # Hung workers are pending for 30 seconds, and then lost.
        name, timeout = f"flagstaff % {cut_off.pid} %", min(seconds(2), 20.0)
        outcome = caller.call(propagation.wait_while_terminating, database, name, timeout)
        assert (outcome["complete"], counts(outcome)) == (False, (7, 3, 0, 0))
        assert pids(outcome["pending"]) == pids_of(*hung, cut_off)
        assert timeout <= outcome["seconds"] < 2 * timeout
        # As if 30 seconds had passed.
        query("UPDATE flagstaff_worker SET expected_by = seen_at WHERE pid = %s", cut_off.pid)
        off = ["flags", "off", "new_checkout", "--wait", f"{seconds(1):.0f}", "--expect", "11"]
        ran = run_python(database, *STRICT, "-m", "django", *off, status=3)
        lines = ran.stderr.splitlines()
        sentence = r"Applied by 7 of 9 workers after \d+\.\d+ s; the wait ended after \d+\."
        assert re.match(sentence, lines[3])
        assert all(f"(pid {worker.pid})" in lines[4] for worker in hung)
        assert lines[5].startswith("Lost (killed, or without a connection): ")
        assert f"(pid {cut_off.pid})" in lines[5]
        assert lines[6] == "Expected, but not registered: 2."
    proxy.resume()
    after = caller.call(propagation.wait_for_workers, 30, WORKERS)
    assert (after["complete"], counts(after)) == (True, (10, 0, 0, 0))
    assert [worker.ask(*NEW_CHECKOUT, 1) for worker in workers] == [False] * WORKERS


def test_change_committed_after_a_later_token_is_not_counted_too_early(
    database: str, worker: Worker, caller: Worker, query: Query, record_property: Record
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0")
    wrong, took = 0, []
    with psycopg.connect(database) as early:
        for number in range(repeats(100, 30)):
            enabled = number % 2 == 0
            # This session gets its token first, and commits last.
            early.execute("UPDATE flagstaff_featureflag SET rollout_percent = %s", [100 * enabled])
            query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)", number)
            worker.sees(["get_value", "gateway"], number, within=2)
            with suspended(worker):
                early.commit()
                wrong += caller.call(propagation.wait_for_workers, 0)["applied"]
            # The worker may have lost its connection while it was stopped, and then it reconnects.
            outcome = caller.call(propagation.wait_for_workers, 30, 1)
            assert outcome["complete"], outcome
            wrong += worker.ask(*NEW_CHECKOUT) is not enabled
            took.append(outcome["seconds"])
    assert wrong == 0
    record_property("seconds", sorted(took))


def test_ten_workers_apply_each_change_soon_and_are_counted_while_they_reconnect(
    database: str, workers: list[Worker], caller: Worker, record_property: Record
) -> None:
    caller.call(propagation.change_repeatedly, 10)
    made = caller.call(propagation.change_repeatedly, CHANGES)
    took = sorted(seconds_taken for seconds_taken, _ in made)
    assert {applied for _, applied in made} == {WORKERS}
    record_property("seconds", took)
    assert took[CHANGES // 2] <= seconds(0.5)
    outcome = caller.call(propagation.wait_while_terminating, database, "flagstaff %", 30)
    assert (outcome["complete"], counts(outcome)) == (True, (10, 0, 0, 0))


def test_waiting_process_is_counted_as_a_worker(worker: Worker) -> None:
    for percent in (100, 0) * 10:
        outcome, enabled = worker.call(propagation.change_and_wait, percent, 1)
        assert (outcome["complete"], outcome["applied"]) == (True, 1)
        assert enabled is (percent == 100)


def test_change_without_triggers_is_not_counted_before_it_is_loaded(
    database: str, worker: Worker, caller: Worker
) -> None:
    wrong = 0
    with psycopg.connect(database, autocommit=True) as session:
        for percent in (0, 100) * 5:
            session.execute("ALTER TABLE flagstaff_featureflag DISABLE TRIGGER ALL")
            session.execute("UPDATE flagstaff_featureflag SET rollout_percent = %s", [percent])
            session.execute(always("flagstaff_featureflag").encode())
            applied = caller.call(propagation.wait_for_workers, 5)["applied"] == 1
            wrong += applied and worker.ask(*NEW_CHECKOUT) is not (percent == 100)
    assert wrong == 0


@pytest.mark.parametrize("parameters", [{}, {"application_name": "shop"}])
def test_workers_behind_a_pooler_are_counted_as_all_others(
    database: str, pooler: PgBouncer, query: Query, parameters: dict[str, str]
) -> None:
    url = make_conninfo(database, port=pooler.port, **parameters)
    with ExitStack() as stack:
        caller = stack.enter_context(Worker(database, POLL_INTERVAL=1))
        urls = [url, url, url, database]
        workers = [stack.enter_context(Worker(url, POLL_INTERVAL=1)) for url in urls]
        for worker in workers:
            worker.loaded()
        for percent in 100, 0:
            query("UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = %s", percent)
            outcome = caller.call(propagation.wait_for_workers, 10, 4)
            assert (outcome["complete"], counts(outcome)) == (True, (4, 0, 0, 0))
            assert [worker.ask(*NEW_CHECKOUT) for worker in workers] == [percent == 100] * 4
        listed = query("SELECT array_agg(pid ORDER BY pid) FROM flagstaff_worker")
        assert listed == (pids_of(*workers),)
        # One that ends deletes its row.
        workers[0].end()
        assert query("SELECT count(*) FROM flagstaff_worker") == (3,)
        assert {worker.ask("status")["failures"] for worker in workers[1:]} == {0}


def test_worker_behind_a_pooler_that_has_not_polled_is_pending(
    database: str, worker: Worker, pooler: PgBouncer, caller: Worker
) -> None:
    with Worker(make_conninfo(database, port=pooler.port), POLL_INTERVAL=60).loaded() as pooled:
        pooled.sees(["mode"], "poll", within=3)
        outcome = caller.call(propagation.wait_for_workers, 1)
        assert (outcome["complete"], counts(outcome)) == (False, (1, 1, 0, 0))
        assert pids(outcome["pending"]) == [pooled.pid]


def test_kill_behind_a_pooler_ends_when_all_workers_have_polled(
    database: str, pooler: PgBouncer, query: Query
) -> None:
    url = make_conninfo(database, port=pooler.port)
    with Worker(url, POLL_INTERVAL=1) as pooled, Worker(url, POLL_INTERVAL=1) as caller:
        pooled.loaded()
        query("UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = 100")
        pooled.sees(NEW_CHECKOUT, True, within=3)
        _out, text = caller.call(ok, "kill new_checkout")[1:]
        assert pooled.ask(*NEW_CHECKOUT) is False
    assert text.splitlines()[-1].startswith("Applied by 1 of 1 worker after ")


@pytest.fixture
def web(database: str, query: Query) -> Iterator[str]:
    """The URL of a role that reads what workers read, and reports."""
    query("CREATE ROLE web LOGIN PASSWORD 'secret'")
    query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO web")
    query("GRANT EXECUTE ON FUNCTION flagstaff_worker_v1 TO web")
    yield make_conninfo(database, user="web", password="secret")
    query("DROP OWNED BY web")
    query("DROP ROLE web")


@pytest.mark.parametrize("is_pooled", [False, True], ids=["direct", "pooled"])
@pytest.mark.parametrize(("fault", "problem"), FAULTS.values(), ids=FAULTS)
def test_worker_that_cannot_report_gets_each_change_and_is_counted(  # noqa: PLR0913, PLR0917
    fault: str,
    problem: str,
    is_pooled: bool,
    web: str,
    database: str,
    server: Postgres,
    query: Query,
    caller: Worker,
    record_property: Record,
) -> None:
    with ExitStack() as stack:
        url = web
        if is_pooled:
            pooler = stack.enter_context(PgBouncer(server.port, users={"web": "secret"}))
            url = make_conninfo(web, port=pooler.port)
        admin = stack.enter_context(psycopg.connect(database, autocommit="LOCK" not in fault))
        admin.execute(fault.encode())
        worker = stack.enter_context(Worker(url, POLL_INTERVAL=0.2, USAGE_INTERVAL=0).loaded())
        took = []
        for percent in (100, 0) * 5:
            query("UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = %s", percent)
            took.append(worker.sees(NEW_CHECKOUT, percent == 100, within=1))
        record_property("seconds", sorted(took))
        status = worker.ask("status")
        assert (status["mode"], status["failures"]) == ("poll" if is_pooled else "live", 0)
        assert status["last_error"] is None
        [reported] = status["problems"]
        assert reported.startswith("this worker does not report")
        assert problem in reported
        admin.rollback()
        propagated = caller.call(propagation.wait_for_workers, 0.5)
        assert (propagated["complete"], counts(propagated)) == (False, (0, 0, 1, 0))


def test_worker_whose_role_has_another_isolation_level_reports_at_read_committed(
    web: str, query: Query
) -> None:
    query("ALTER ROLE web SET default_transaction_isolation = serializable")
    query(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'serializable reports abort each other'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON flagstaff_worker FOR EACH ROW
        WHEN (current_setting('transaction_isolation') <> 'read committed')
        EXECUTE FUNCTION refuse()
        """
    )
    with Worker(web, USAGE_INTERVAL=0).loaded() as worker:
        worker.sees(["problems"], [], within=3)
        assert query("SELECT count(*) FROM flagstaff_worker") == (1,)


@pytest.fixture
def slow_groups(query: Query) -> Callable[[str], None]:
    """A function that changes a rule, after which a load takes four seconds."""
    query("ALTER TABLE auth_group RENAME TO all_groups")
    query("CREATE VIEW auth_group AS SELECT all_groups.* FROM all_groups, pg_sleep(4)")
    query("INSERT INTO all_groups (name) VALUES ('beta'), ('staff')")

    def read(group: str) -> None:
        rules = [{"conditions": [condition("groups", "in", group)]}]
        query("UPDATE flagstaff_featureflag SET rules = %s", json.dumps(rules))

    return read


def test_pooled_worker_reports_before_a_load_that_may_take_long(
    database: str, pooler: PgBouncer, query: Query, slow_groups: Callable[[str], None]
) -> None:
    report = (
        "SELECT extract(epoch FROM clock_timestamp() - seen_at)::float, token FROM flagstaff_worker"
    )
    with Worker(make_conninfo(database, port=pooler.port), POLL_INTERVAL=0.2).loaded():
        while not (before := query(report)) or before[0] < 5:
            pass
        slow_groups("beta")
        while (during := query(report))[0] > 5:
            pass
    assert during[1] == before[1]


@pytest.mark.parametrize("is_pooled", [False, True], ids=["direct", "pooled"])
def test_worker_that_ends_during_a_load_deletes_its_row(
    is_pooled: bool,
    database: str,
    pooler: PgBouncer,
    query: Query,
    slow_groups: Callable[[str], None],
) -> None:
    url = make_conninfo(database, port=pooler.port) if is_pooled else database
    with Worker(url, POLL_INTERVAL=0.2).loaded():
        while query("SELECT count(*) FROM flagstaff_worker WHERE token > 0") == (0,):
            pass
        slow_groups("beta")
        loading = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while query(loading) == (0,):
            pass
    assert query("SELECT count(*) FROM flagstaff_worker") == (0,)


def test_worker_killed_while_it_writes_is_expected_and_leaves_a_whole_row(
    database: str, worker: Worker, caller: Worker, query: Query
) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE 'SELECT %flagstaff_worker_v1%'"
    )
    victim = Worker(database)
    try:
        victim.loaded()
        victim.sees(["problems"], [], within=3)
        with psycopg.connect(database) as admin:
            admin.execute("LOCK TABLE flagstaff_worker")
            query("SELECT flagstaff_barrier_v1()")
            while query(waiting) == (0,):
                pass
            victim.end(signal.SIGKILL)
            # The other one has waited for the lock as well.
            while not worker.ask("problems"):
                pass
    finally:
        victim.end(signal.SIGKILL)
    # The other one may report again.
    outcome = caller.call(propagation.wait_for_workers, 0)
    assert {victim.pid} <= {*pids(outcome["pending"])} <= {*pids_of(worker, victim)}


def test_forked_child_has_a_row_of_its_own(worker: Worker, query: Query) -> None:
    before = query("SELECT worker FROM flagstaff_worker WHERE pid = %s", worker.pid)
    commands = [["refresh"], calling(propagation.rows_of_this_process)]
    [_loaded, rows] = worker.ask("in_fork", "sys.exit", commands)
    assert (len(rows), before[0] in rows) == (1, False)
    # The child's end deletes its own row only.
    assert query("SELECT array_agg(worker) FROM flagstaff_worker") == ([before[0]],)
