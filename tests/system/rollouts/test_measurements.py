"""Workers measure a rollout plan: the users, requests and failures on both sides of the rollout."""

import signal
from typing import Any

import pytest

from flagstaff._request.visitor import sign_id
from tests.support import plan_requests
from tests.support.fixtures import Query
from tests.support.orphans import open_sockets
from tests.support.plans import KEY, TIMEOUT, counted, failed_users, start_run, wait_for_count
from tests.support.proxy import Proxy
from tests.support.sessions import Sessions, within
from tests.support.workers import Worker, calling

#: Of the users from 0 to 299, those with the flag at 33 %.
USERS = list(range(300))
HUNDRED = USERS[:100]

#: How many workers have measured, and how many of them have reported their end.
WORKERS = "SELECT count(*), count(stopped_at) FROM flagstaff_report WHERE report = 'measurements'"


@pytest.fixture
def run(query: Query) -> int:
    """The run of a plan that measures, with a latency guard that no request passes."""
    return start_run(query)


def measuring(url: str, **settings: Any) -> Worker:
    """A worker that has loaded the plan and reports often."""
    return Worker(url, **{"MEASURE_INTERVAL": 0.1, **settings}).loaded()


def request(worker: Worker, users: list[Any], status: int = 200) -> None:
    worker.call(plan_requests.requests, KEY, users, status)


def sides(worker: Worker) -> tuple[int, int]:
    inside = len(worker.ask("survey", KEY, len(USERS)))
    return len(USERS) - inside, inside


@pytest.mark.parametrize("requests", [plan_requests.requests, plan_requests.requests_async])
def test_requests_are_counted_by_side(database: str, query: Query, run: int, requests: Any) -> None:
    with measuring(database) as worker:
        expected = sides(worker)
        worker.call(requests, KEY, USERS)
        wait_for_count(query, expected, run, "r")
    assert counted(query, run, "f") == (0, 0)
    assert failed_users(query, run) == (0, 0)
    # All requests exceed the limit of the latency guard.
    assert failed_users(query, run, guard=2) == expected


@pytest.mark.parametrize("requests", [plan_requests.requests, plan_requests.requests_async])
def test_request_that_waits_for_the_first_load_is_counted(
    database: str, query: Query, run: int, requests: Any
) -> None:
    with Worker(database) as worker:
        worker.call(requests, KEY, USERS)
        expected = sides(worker)
    assert counted(query, run, "r") == expected


def test_sum_of_all_workers_is_exact(database: str, query: Query, run: int) -> None:
    workers = [measuring(database) for _ in range(3)]
    outside, inside = sides(workers[0])
    for _ in range(2):
        for worker in workers:
            worker.send(*calling(plan_requests.requests, KEY, USERS, 500))
        for worker in workers:
            worker.receive()
    assert [worker.end() for worker in workers] == [(0, "")] * 3
    assert counted(query, run, "r") == (6 * outside, 6 * inside)
    # Of each user, one request in each worker is at risk.
    assert counted(query, run, "a") == counted(query, run, "f") == (3 * outside, 3 * inside)
    # Each user is seen and fails in all workers, and counts once.
    assert failed_users(query, run) == (outside, inside)
    raised = query(
        "SELECT count(*) FILTER (WHERE NOT inside), count(*) FILTER (WHERE inside) "
        "FROM flagstaff_rollouts_seenregister"
    )
    assert 0.9 * outside < raised[0] <= outside
    assert 0.9 * inside < raised[1] <= inside
    assert query(WORKERS) == (3, 3)
    # Each report of a worker has a row of its own.
    names = "SELECT count(*), count(DISTINCT worker), count(DISTINCT pid) FROM flagstaff_report"
    assert query(names) == (6, 6, 3)


def test_lost_acknowledgement_counts_nothing_twice(database: str, query: Query, run: int) -> None:
    with Proxy(database) as proxy, measuring(proxy.url) as worker:
        proxy.lose_answers(b"flagstaff_rollouts_signalcount", b"COMMIT", times=1)
        outside, inside = sides(worker)
        for times in (1, 2):
            request(worker, USERS)
            wait_for_count(query, (times * outside, times * inside), run, "r")
        assert proxy.lost == 1
    assert counted(query, run, "r") == (2 * outside, 2 * inside)


def test_killed_worker_is_known_as_lost(database: str, query: Query, run: int) -> None:
    worker = measuring(database)
    request(worker, USERS)
    wait_for_count(query, sides(worker), run, "r")
    worker.end(signal.SIGKILL)
    assert query(WORKERS) == (1, 0)


def test_worker_reports_its_first_request_before_its_interval(
    database: str, query: Query, run: int
) -> None:
    with measuring(database, MEASURE_INTERVAL=60, RELEASE="b") as worker:
        request(worker, [1])
        assert within(TIMEOUT, lambda: query(WORKERS) == (1, 0))
        assert query("SELECT release FROM flagstaff_report WHERE report = 'measurements'") == ("b",)


def test_evaluation_outside_of_a_request_is_not_counted(
    database: str, query: Query, run: int
) -> None:
    with measuring(database) as worker:
        sides(worker)
    assert query(WORKERS) == (0, 0)


def test_allowed_user_and_user_of_a_rule_are_on_neither_side(
    database: str, query: Query, run: int
) -> None:
    query(
        "UPDATE flagstaff_featureflag SET rules = "
        '\'[{"name": "", "conditions": [{"attribute": "is_authenticated", "operator": "in", '
        '"values": [true]}], "rollout_percent": 50}]\' RETURNING id'
    )
    with measuring(database) as worker:
        request(worker, USERS)
        request(worker, [None])
    assert query("SELECT count(*) FROM flagstaff_rollouts_signalcount") == (0,)


def test_plan_that_has_not_started_measures_at_0_percent(database: str, query: Query) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0 RETURNING id")
    run = start_run(query, state="pending")
    with measuring(database) as worker:
        request(worker, USERS)
    assert counted(query, run, "r") == (len(USERS), 0)


def test_run_that_was_deleted_does_not_stop_the_others(
    database: str, query: Query, run: int
) -> None:
    with measuring(database) as worker:
        request(worker, USERS)
        wait_for_count(query, sides(worker), run, "r")
        for table in (
            *("signalcount", "seenregister", "failedunit", "failednetwork", "steprun", "plan"),
        ):
            query(f"DELETE FROM flagstaff_rollouts_{table} RETURNING true")
        request(worker, USERS)
        following = start_run(query)
        worker.ask("refresh")
        request(worker, USERS)
        wait_for_count(query, sides(worker), following, "r")


def test_refused_flush_is_written_once_the_table_is_back(
    database: str, query: Query, run: int
) -> None:
    with measuring(database) as worker:
        query("ALTER TABLE flagstaff_rollouts_failedunit RENAME TO moved")
        request(worker, USERS, status=500)
        expected = sides(worker)
        refused = "this worker cannot write the counts of rollout plans: a table is missing"
        worker.sees(calling(plan_requests.has_problem, refused), True, within=TIMEOUT)
        query("ALTER TABLE moved RENAME TO flagstaff_rollouts_failedunit")
        wait_for_count(query, expected, run, "r")
    assert failed_users(query, run) == expected


def test_values_that_overflow_are_dropped_and_the_next_are_written(
    database: str, query: Query, run: int
) -> None:
    query(
        "INSERT INTO flagstaff_rollouts_signalcount (run_id, inside, kind, number, count) "
        "VALUES (%s, true, 'f', 0, 9223372036854775807) RETURNING id",
        run,
    )
    with measuring(database) as worker:
        request(worker, USERS, status=500)

        def next_are_written() -> bool:
            request(worker, USERS[:10])
            return counted(query, run, "r") != (0, 0)

        assert within(TIMEOUT, next_are_written)


def test_plan_without_a_driver_is_a_problem_of_the_status(
    database: str, query: Query, run: int
) -> None:
    with measuring(database) as worker:
        assert worker.ask("status")["problems"] == []
        query("UPDATE flagstaff_rollouts_plan SET guarded_until = now() RETURNING id")
        worker.ask("refresh")
        (problem,) = worker.ask("status")["problems"]
        assert problem == (
            'the rollout plan of flag "new_checkout" is unguarded, because run-jobs has not '
            'watched it for about five minutes: run "manage.py flags run-jobs" to watch it '
            "now, or to see the error"
        )


@pytest.mark.parametrize(
    ("how", "slow_and_counted"),
    [
        ("nothing", (100, 100)),
        ("POST", (0, 100)),
        ("wsgi.input", (0, 100)),
        ("chunked", (0, 100)),
        ("broken", (0, 0)),
    ],
)
def test_time_in_which_the_body_arrives_is_not_measured(
    database: str, query: Query, run: int, how: str, slow_and_counted: tuple[int, int]
) -> None:
    """The latency guard has the limit 0, and more time than the request took is left out."""
    with measuring(database) as worker:
        worker.call(plan_requests.bodies, KEY, HUNDRED, how)
        assert worker.end() == (0, "")
    slow = sum(failed_users(query, run, guard=2))
    assert (slow, sum(counted(query, run, "r"))) == slow_and_counted


ADDRESS = "tests.support.plan_requests.address"


def left_out(query: Query, run: int) -> tuple[int, int]:
    """Registers of the users who were seen and left out, and the failing users who were."""
    seen, failed = query(
        "SELECT (SELECT count(*) FROM flagstaff_rollouts_seenregister WHERE run_id = %s "
        "AND left_out), (SELECT count(*) FROM flagstaff_rollouts_failedunit WHERE run_id = %s "
        "AND guard = 0 AND NOT is_counted)",
        run,
        run,
    )
    return seen, failed


def test_one_failing_user_of_a_network_counts(database: str, query: Query, run: int) -> None:
    visits = [
        # The same network in two forms.
        *((user, f"192.0.2.{user}", 500) for user in range(4)),
        *((user, f"::ffff:192.0.2.{user}", 500) for user in range(4, 8)),
        *((user, f"2001:db8:1:{user}::1", 500) for user in range(8, 16)),
        *((user, "unknown", 500) for user in range(16, 24)),
        *((user, f"198.51.{user}.1", 500) for user in range(24, 34)),
    ]
    workers = [measuring(database, CLIENT_ADDRESS=ADDRESS) for _ in range(2)]
    for worker, arriving in zip(workers, (visits, visits[::-1]), strict=True):
        assert worker.call(plan_requests.requests_from, KEY, arriving) == len(visits)
        assert worker.end() == (0, "")
    assert sum(failed_users(query, run)) == 3 + 10
    # Four users of each network count in each worker, of whom one is the first to fail in the run.
    assert left_out(query, run) == (8 + 8 + 8, 7 + 7 + 7)
    assert query("SELECT count(*) FROM flagstaff_rollouts_failednetwork WHERE guard = 0") == (13,)


def test_first_users_of_a_network_count_in_each_worker(
    database: str, query: Query, run: int
) -> None:
    with measuring(database, CLIENT_ADDRESS=ADDRESS, MEASURE_INTERVAL=60) as worker:
        worker.call(
            plan_requests.requests_from, KEY, [(user, "192.0.2.1", 200) for user in USERS[4:104]]
        )
        worker.call(
            plan_requests.requests_from, KEY, [(user, "192.0.2.1", 500) for user in USERS[4:104]]
        )
        assert worker.end() == (0, "")
    seen, failed = left_out(query, run)
    # Some users have a register in common.
    assert 92 <= seen <= 96
    assert (failed, sum(failed_users(query, run))) == (3, 1)
    # Of the users of one report, the hash decides, and not the side.
    assert query(
        "SELECT array_agg(inside ORDER BY unit), (array_agg(is_counted ORDER BY unit))[1] "
        "FROM flagstaff_rollouts_failedunit WHERE guard = 0"
    ) == ([False, True, True, True], True)


def test_counts_belong_to_the_tenth_of_their_run(database: str, query: Query, run: int) -> None:
    query("UPDATE flagstaff_rollouts_steprun SET tenth = 7 RETURNING id")
    with measuring(database) as worker:
        outside, inside = sides(worker)
        for status in (200, 500, 500):
            request(worker, USERS, status)
        assert worker.end() == (0, "")
    assert counted(query, run, "a") == (2 * outside, 2 * inside)
    assert counted(query, run, "f") == (outside, inside)
    assert query("SELECT array_agg(DISTINCT tenth) FROM flagstaff_rollouts_signalcount") == ([7],)
    assert query("SELECT array_agg(DISTINCT tenth) FROM flagstaff_rollouts_failedunit") == ([7],)


def test_worker_with_many_failing_users_writes_all_of_them_before_its_interval(
    database: str, query: Query, run: int
) -> None:
    # Few more than a worker keeps: a worker that ends has no time to write many.
    users = 16_500
    with measuring(database, MEASURE_INTERVAL=60) as worker:
        request(worker, [*range(users)], status=500)
        # All but those who can wait until the end.
        assert within(TIMEOUT, lambda: sum(failed_users(query, run)) > users - 4096)
        assert worker.end() == (0, "")
    assert sum(failed_users(query, run)) == users
    assert counted(query, run, "d") == (0, 0)


def test_20000_cookies_of_one_network_hide_no_fault(database: str, query: Query, run: int) -> None:
    one_client = [(f"cookie {number}", "192.0.2.1", 500) for number in range(20_000)]
    with measuring(database, CLIENT_ADDRESS=ADDRESS) as worker:
        worker.call(plan_requests.requests_from, KEY, one_client)
        inside = set(worker.ask("survey", KEY, 2000))
        others = [(user, f"10.{user // 256}.{user % 256}.1") for user in range(2000)]
        before = [(*other, 200) for other in others]
        worker.call(plan_requests.requests_from, KEY, before)
        assert within(TIMEOUT, lambda: sum(counted(query, run, "r")) >= 22_000)
        assert worker.call(plan_requests.verdict, run, 33) is None
        harm = [(*other, 500) for other in others if other[0] in inside]
        worker.call(plan_requests.requests_from, KEY, harm)
        assert within(TIMEOUT, lambda: sum(counted(query, run, "r")) >= 22_000 + len(harm))
        assert worker.call(plan_requests.verdict, run, 33) == "errors"


def test_address_is_read_only_if_a_watched_flag_was_evaluated(
    database: str, query: Query, run: int
) -> None:
    with measuring(database, CLIENT_ADDRESS=ADDRESS) as worker:
        assert worker.call(plan_requests.requests_from, KEY, [(1, "192.0.2.1", 200)]) == 1
        assert worker.call(plan_requests.requests_from, "other", [(1, "192.0.2.1", 200)]) == 0
        assert worker.call(plan_requests.requests_from, KEY, [(None, "192.0.2.1", 200)]) == 0


def test_failing_visitor_is_new_if_the_cookie_is_younger_than_the_run(
    database: str, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET bucket_by = 'visitor' RETURNING id")
    run = start_run(query)
    # A cookie has whole seconds, and a run has fractions.
    (second,) = query(
        "UPDATE flagstaff_rollouts_steprun SET started_at = date_trunc('second', started_at) "
        "+ interval '0.9 s' RETURNING floor(extract(epoch FROM started_at))::int"
    )
    old = [sign_id(f"visitor-{number}", second - 1) for number in range(5)]
    new = [sign_id("another", second), *[None] * 6]
    with measuring(database) as worker:
        worker.call(plan_requests.visitors, KEY, [*old, *new], 500)
        assert worker.end() == (0, "")
    assert query(
        "SELECT count(*) FILTER (WHERE NOT is_new), count(*) FILTER (WHERE is_new) "
        "FROM flagstaff_rollouts_failedunit WHERE run_id = %s AND guard = 0",
        run,
    ) == (5, 7)


@pytest.mark.parametrize(("percent", "users"), [(1, 3000), (5, 1000), (25, 200)])
def test_guard_is_tripped_by_a_fault_and_not_by_one_client(
    database: str, query: Query, run: int, percent: int, users: int
) -> None:
    """The client has an IPv4 address and an IPv6 /48, and cookies that are inside."""
    query("UPDATE flagstaff_featureflag SET rollout_percent = %s RETURNING id", percent)
    total = 0
    with measuring(database, CLIENT_ADDRESS=ADDRESS) as worker:

        def trip(visits: list[tuple[int, str, int]]) -> Any:
            """The guard that trips after these visits."""
            nonlocal total
            total += len(visits)
            worker.call(plan_requests.requests_from, KEY, visits)
            assert within(TIMEOUT, lambda: sum(counted(query, run, "r")) >= total)
            return worker.call(plan_requests.verdict, run, percent)

        inside = set(worker.ask("survey", KEY, 2 * users))
        own = [user for user in inside if user >= users]
        networks = [
            (user, "192.0.2.1" if user % 2 else f"2001:db8:1:{user:x}::1", 500) for user in own
        ]
        others = [(user, f"10.{user // 256}.{user % 256}.1") for user in range(users)]
        # The only failures, which the brake watches, and then beside those of a fifth of all users.
        assert not trip([*((*other, 200) for other in others), *networks])
        assert not trip([(*other, 500) for other in others if other[0] % 5 == 0])
        assert trip([(*other, 500) for other in others if other[0] in inside]) == "errors"


# Which requests are counted, as docs/how-to/rollout-plans.md says.


def test_request_that_evaluates_the_flag_is_counted(database: str, query: Query, run: int) -> None:
    with measuring(database) as worker:
        outside, inside = sides(worker)
        # Each view, with the users for whom it or one before it has failed.
        views = {
            "request.flags": (0, 0),
            "openfeature": (0, 0),
            "404": (0, 0),
            # Users without the flag get 403, and the view fails for those with it.
            "drf": (0, inside),
            "raises": (outside, inside),
        }
        for times, (view, failed) in enumerate(views.items(), start=1):
            worker.call(plan_requests.requests_by, view, KEY, USERS)
            wait_for_count(query, (times * outside, times * inside), run, "r")
            assert failed_users(query, run) == failed, view


IN_BULK = ["all_flags", "request.flags.all", "browsers"]


@pytest.mark.parametrize("view", [*IN_BULK, "explain", "streaming", "thread"])
def test_request_without_a_single_evaluation_of_its_own_is_not_counted(
    database: str, query: Query, run: int, view: str
) -> None:
    query("UPDATE flagstaff_featureflag SET client_side = true")
    with measuring(database) as worker:
        expected = sides(worker)
        # The last requests are counted, so the worker has written.
        for each in (view, "404"):
            worker.call(plan_requests.requests_by, each, KEY, USERS)
        assert worker.end() == (0, "")
    assert counted(query, run, "r") == expected


# POOL_IDLE: a worker keeps one connection while it writes reports.


def report(worker: Worker, query: Query, run: int, times: int = 1) -> None:
    """Makes a request, and waits until this many are counted in all."""
    request(worker, [1])
    assert within(5, lambda: sum(counted(query, run, "r")) == times)


def pooled(sessions: Sessions, worker: Worker) -> list[int]:
    """The backends of the worker's connections but its permanent one."""
    return [session.backend for session in sessions() if session.owner != worker.pid]


def test_worker_keeps_one_connection_while_it_reports_and_closes_it_at_its_end(
    database: str, query: Query, run: int, sessions: Sessions
) -> None:
    with measuring(database, POOL_IDLE=60) as worker:
        kept = []
        for times in range(1, 4):
            report(worker, query, run, times)
            kept.append(pooled(sessions, worker))
        assert kept == [kept[0]] * 3
        assert len(kept[0]) == 1
    assert within(2, lambda: sessions() == [])


def test_forked_child_closes_the_connection_that_its_parent_keeps(
    database: str, query: Query, run: int, sessions: Sessions
) -> None:
    with measuring(database, POOL_IDLE=60) as worker:
        report(worker, query, run)
        kept = pooled(sessions, worker)
        of_parent = worker.call(open_sockets)
        commands: list[Any] = [calling(open_sockets), ["ready", 10], ["refresh"]]
        of_child, *results = worker.ask("in_fork", "os._exit", commands)
        assert (of_child, results[0]) == ([], True)
        assert len(of_parent) == 2
        # The parent's session has not noticed.
        report(worker, query, run, times=2)
        assert pooled(sessions, worker) == kept


def test_last_report_is_written_although_the_server_has_ended_the_kept_session(
    database: str, query: Query, run: int, sessions: Sessions
) -> None:
    with measuring(database, POOL_IDLE=60, MEASURE_INTERVAL=2) as worker:
        report(worker, query, run)
        [kept] = pooled(sessions, worker)
        assert query("SELECT pg_terminate_backend(%s, 10000)", kept) == (True,)
        request(worker, [1])
    assert sum(counted(query, run, "r")) == 2
