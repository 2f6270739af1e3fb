"""Usage of all workers: every evaluation is counted exactly once."""

import json
import signal
import time
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from tests.support import usage_reports
from tests.support.fixtures import Query
from tests.support.proxy import Proxy
from tests.support.sessions import within
from tests.support.workers import Worker
from tools.limits import seconds
from tools.postgres import Postgres

KEY = "new_checkout"
TIMEOUT = 30.0


def counted(query: Query, key: str = KEY) -> tuple[int, int]:
    """The numbers of True and of False results."""
    true_count, false_count = query(
        "SELECT coalesce(sum(count) FILTER (WHERE result = 'true'), 0)::int, "
        "coalesce(sum(count) FILTER (WHERE result = 'false'), 0)::int "
        "FROM flagstaff_usage WHERE key = %s",
        key,
    )
    return true_count, false_count


def evaluate(worker: Worker, users: int) -> tuple[int, int]:
    true_count = len(worker.ask("survey", KEY, users))
    return true_count, users - true_count


def total(*counts: tuple[int, int]) -> tuple[int, int]:
    return sum(true for true, _ in counts), sum(false for _, false in counts)


def test_sum_of_all_workers_is_exact(database: str, query: Query) -> None:
    workers = [Worker(database, USAGE_INTERVAL=1).loaded() for _ in range(4)]
    counts = []
    for _ in range(6):
        for worker in workers:
            worker.send("survey", KEY, 3000)
        for worker in workers:
            true_count = len(worker.receive())
            counts.append((true_count, 3000 - true_count))
        time.sleep(0.3)  # so that flushes happen in between
    assert [worker.end() for worker in workers] == [(0, "")] * 4
    assert counted(query) == total(*counts)
    assert query("SELECT count(*), count(stopped_at) FROM flagstaff_report") == (4, 4)
    assert query("SELECT max(sequence) > 1 FROM flagstaff_report") == (True,)


def test_last_report_includes_everything(database: str, query: Query) -> None:
    with Worker(database).loaded() as worker:
        expected = evaluate(worker, 1000)
        assert counted(query) == (0, 0)
    assert counted(query) == expected
    hour, last = query(
        "SELECT extract(epoch FROM now() - hour) BETWEEN 0 AND 3700, "
        "now() - last_at < interval '1 min' FROM flagstaff_usage WHERE result = 'true'"
    )
    assert (hour, last) == (True, True)


def test_each_flush_reports_though_nothing_is_evaluated(database: str, query: Query) -> None:
    def reported_at() -> Any:
        return query("SELECT max(last_at) FROM flagstaff_usage WHERE result = 'report'")[0]

    with Worker(database, USAGE_INTERVAL=1).loaded() as worker:
        evaluated = evaluate(worker, 10)
        assert within(TIMEOUT, lambda: counted(query) == evaluated)
        first = reported_at()
        assert within(TIMEOUT, lambda: reported_at() > first)


def test_worker_without_evaluations_or_an_interval_writes_nothing(
    database: str, query: Query
) -> None:
    with Worker(database, USAGE_INTERVAL=1).loaded() as worker:
        worker.call(usage_reports.read_in_every_other_way, KEY)
    with Worker(database, USAGE_INTERVAL=0).loaded() as worker:
        evaluate(worker, 100)
        assert worker.ask("status")["usage_problem"] == "USAGE_INTERVAL is 0"
        assert worker.ask("has_logged", 1) is False
    assert counted(query) == (0, 0)
    assert query("SELECT count(*) FROM flagstaff_report") == (0,)


def test_killed_worker_loses_at_most_its_last_interval(database: str, query: Query) -> None:
    killed = Worker(database, USAGE_INTERVAL=1).loaded()
    first = evaluate(killed, 1000)
    assert within(TIMEOUT, lambda: counted(query) == first)
    last = evaluate(killed, 500)
    killed.end(by=signal.SIGKILL)
    assert counted(query) in (first, total(first, last))


def test_lost_acknowledgement_counts_nothing_twice(database: str, query: Query) -> None:
    with Proxy(database) as proxy, Worker(proxy.url, USAGE_INTERVAL=1).loaded() as worker:
        proxy.lose_answers(b"flagstaff_usage", b"COMMIT", times=2)
        expected = evaluate(worker, 1000)
        assert within(TIMEOUT, lambda: counted(query) == expected)
        counts = [expected]

        def both_are_lost() -> bool:
            counts.append(evaluate(worker, 50))
            return proxy.lost == 2

        assert within(TIMEOUT, both_are_lost)
        expected = total(*counts)
        expected = total(expected, evaluate(worker, 300))
        assert within(TIMEOUT, lambda: counted(query) == expected)
    assert counted(query) == expected


def test_server_restart_during_flushes_counts_nothing_twice(
    database: str, query: Query, server: Postgres
) -> None:
    with Worker(database, USAGE_INTERVAL=1, POLL_INTERVAL=0.2).loaded() as worker:
        expected = (0, 0)
        for _ in range(4):
            for _ in range(15):
                expected = total(expected, evaluate(worker, 200))
                time.sleep(0.05)
            server.stop()
            expected = total(expected, evaluate(worker, 200))
            server.start()
        assert within(TIMEOUT, lambda: counted(query) == expected)
    assert counted(query) == expected


def test_role_that_may_not_write_is_logged_once(database: str, query: Query) -> None:
    query("CREATE ROLE only_reads LOGIN")
    query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO only_reads")
    reader = make_conninfo(database, user="only_reads")
    try:
        with Worker(reader, USAGE_INTERVAL=1).loaded() as worker:
            evaluate(worker, 100)
            why = "the role may not write the tables, GRANT SELECT, INSERT, UPDATE on them to it"
            worker.sees(["field", "usage_problem"], why, within=TIMEOUT)
            worker.sees(["has_logged", 1], True, within=5)
            evaluate(worker, 3000)
            warning = ["WARNING", f"usage is not collected: {why}"]
            assert worker.ask("logged").count(warning) == 1
        assert counted(query) == (0, 0)
    finally:
        query("DROP OWNED BY only_reads; DROP ROLE only_reads")


def test_all_of_many_flags_are_counted(database: str, query: Query) -> None:
    query(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        "SELECT 'flag_' || n, true, 100 * (n % 2) FROM generate_series(1, 3000) AS n"
    )
    keys = [f"flag_{number}" for number in range(1, 3001)]
    with Worker(database).loaded() as worker:
        assert [worker.call(usage_reports.evaluate_each, keys) for _ in range(3)] == [1500] * 3
    counts = query(
        "SELECT count(DISTINCT key), sum(count) FILTER (WHERE result = 'true')::int, "
        "sum(count)::int FROM flagstaff_usage WHERE result <> 'report'"
    )
    assert counts == (3000, 4500, 9000)


def test_unknown_keys_are_counted_within_limits(database: str, query: Query) -> None:
    strange = ["ada@example.com", "Grüße", "", "beta_4711471", "x" * 101, "a b", "\ud800", "\0"]
    with Worker(database).loaded() as worker:
        worker.call(usage_reports.evaluate_each, ["new_chekout", "new_chekout", *strange])
        worker.call(usage_reports.evaluate_each, [f"made_{n % 9999}" for n in range(1, 1500)])
    named = query("SELECT count::int, result FROM flagstaff_usage WHERE key = 'new_chekout'")
    assert named == (2, "unknown")
    counts = query("SELECT count(*), sum(count)::int FROM flagstaff_usage WHERE result <> 'report'")
    # A thousand names, and the total of all others.
    assert counts == (1001, 2 + len(strange) + 1499)
    [others] = query("SELECT count FROM flagstaff_usage WHERE key = '(other keys)'")
    assert others > len(strange)


def test_missing_table_only_stops_the_collection(database: str, query: Query) -> None:
    query("DROP TABLE flagstaff_usage")
    with Worker(database, USAGE_INTERVAL=1).loaded() as worker:
        evaluate(worker, 100)
        why = 'a table is missing, run "manage.py migrate"'
        worker.sees(["field", "usage_problem"], why, within=TIMEOUT)
        assert worker.ask("mode") == "live"


def served(query: Query, key: str = KEY) -> tuple[bool, bool]:
    """Whether a flag was served in bulk, and served to browsers."""
    in_bulk, to_browsers = query(
        "SELECT coalesce(bool_or(result = 'bulk'), false), "
        "coalesce(bool_or(result = 'browsers'), false) FROM flagstaff_usage WHERE key = %s",
        key,
    )
    return in_bulk, to_browsers


@pytest.mark.parametrize(
    ("kinds", "count", "expected"),
    [
        (["single"], 1, (False, False)),
        (["all"], 0, (True, False)),
        (["held"], 0, (True, False)),
        (["browsers"], 0, (False, True)),
        (["all", "browsers", "all"], 0, (True, True)),
        (["single", "all", "browsers", "single"], 2, (True, True)),
        # Not from memory.
        (["own writes"], 0, (False, False)),
    ],
)
def test_bulk_results_are_kept_as_times_and_not_counted(
    database: str, query: Query, kinds: list[str], count: int, expected: tuple[bool, bool]
) -> None:
    query("UPDATE flagstaff_featureflag SET client_side = true")
    query("INSERT INTO flagstaff_featureflag (key) VALUES ('on_the_server')")
    with Worker(database).loaded() as worker:
        worker.call(usage_reports.serve, *kinds)
    assert sum(counted(query)) == count
    assert served(query) == expected
    assert served(query, "on_the_server") == (expected[0], False)


def test_results_of_values_with_rules_are_counted_by_rule(database: str, query: Query) -> None:
    rules = '[{"conditions": [], "rollout_percent": 50, "value": 20}]'
    query("INSERT INTO flagstaff_keyvaluestore (key, value, rules) VALUES ('a', '10', %s)", rules)
    query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('without rules', '10')")
    with Worker(database).loaded() as worker:
        results = worker.call(usage_reports.values_of, "a", 100)
        worker.call(usage_reports.values_of, "without rules", 100)
    [counted] = query(
        "SELECT jsonb_object_agg(key || result, count)::text FROM flagstaff_usage WHERE key = 'a'"
    )
    assert json.loads(counted) == {"a0": results.count(10), "a1": results.count(20)}
    assert 20 < results.count(20) < 80


def test_workers_write_the_time_of_bulk_results_once_an_hour(database: str, query: Query) -> None:
    row = (
        "SELECT array_agg(DISTINCT xmin::text), min(now() - last_at) < interval '10 min' "
        "FROM flagstaff_usage WHERE result = 'bulk'"
    )

    def serve() -> Any:
        with Worker(database).loaded() as first, Worker(database).loaded() as other:
            for worker in (first, other):
                worker.call(usage_reports.serve, "all")
        return query(row)

    first = serve()
    assert (len(first[0]), first[1]) == (1, True)
    assert serve() == first
    query("UPDATE flagstaff_usage SET last_at = last_at - '1 h'::interval")
    assert query(row)[1] is False
    assert serve()[1] is True


def test_bulk_results_during_an_outage_are_written_afterwards(
    database: str, query: Query, server: Postgres
) -> None:
    with Worker(database, USAGE_INTERVAL=1, POLL_INTERVAL=0.2).loaded() as worker:
        evaluated = evaluate(worker, 10)
        assert within(TIMEOUT, lambda: counted(query) == evaluated)
        server.stop()
        worker.call(usage_reports.serve, "all")
        # At least one flush fails.
        time.sleep(seconds(2.5))
        server.start()
        assert within(TIMEOUT, lambda: served(query) == (True, False))
    assert counted(query) == evaluated
