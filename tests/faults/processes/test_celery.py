"""Celery's prefork pool, with and without an evaluation in its parent before the fork."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.app_servers import TIMEOUT, WORKERS
from tests.faults.celery_pool import Tasks, celery
from tests.support.fixtures import Query
from tests.support.sessions import Sessions, within

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path)


def children_with(tasks: Tasks, condition: Callable[[dict[str, Any]], bool]) -> list[int]:
    """Waits until each child has returned a result that meets the condition; their ids."""
    pids: set[int] = set()

    def all_meet_it() -> bool:
        pids.update(result["pid"] for result in tasks.read() if condition(result))
        return len(pids) == WORKERS

    assert within(TIMEOUT, all_meet_it)
    return sorted(pids)


@pytest.mark.parametrize(
    "variables", [{}, {"EVALUATE_AT_IMPORT": "1"}], ids=["", "evaluated before the fork"]
)
def test_celery_children_evaluate_at_once_and_see_changes_over_one_connection_each(
    variables: dict[str, str], database: str, query: Query, sessions: Sessions, tasks: Tasks
) -> None:
    with celery(database, tasks.folder, **variables) as server:
        assert {result["gateway"] for result in tasks.read()} == {"stripe"}
        children = children_with(tasks, lambda result: result["gateway"] == "stripe")
        pids = sorted([*([server.pid] if variables else []), *children])
        assert within(2, lambda: sorted(s.owner for s in sessions()) == pids), sessions()
        before = sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert children_with(tasks, lambda result: result["gateway"] == "paypal") == children
        assert {result["gateway"] for result in tasks.read()} == {"paypal"}
        assert sessions() == before
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


def test_change_by_a_task_has_the_actor_of_that_task_only(
    database: str, query: Query, tasks: Tasks
) -> None:
    query("TRUNCATE flagstaff_change")
    with celery(database, tasks.folder, EVALUATE_AT_IMPORT="1"):
        # Some tasks without an actor run in a process that has just had one.
        changes = [(percent, "7" if percent % 2 else None) for percent in range(40, 60)]
        processes = {tasks.run("change", *arguments)[0] for arguments in changes}
    assert len(processes) <= WORKERS
    [entries] = query(
        "SELECT json_agg(ARRAY[old ->> 'rollout_percent', new ->> 'rollout_percent', actor, "
        "source, reason] ORDER BY id) FROM flagstaff_change"
    )
    assert entries == [
        [str(percent - 1 if percent > 40 else 33), str(percent)]
        + ([actor, "code", "at night"] if actor else [None] * 3)
        for percent, actor in changes
    ]


def test_stopped_pool_has_recorded_the_usage_of_every_evaluation(
    database: str, query: Query, tasks: Tasks
) -> None:
    with celery(database, tasks.folder):
        children = set(tasks.run("survey", 500, times=20))
    assert query("SELECT sum(count)::int FROM flagstaff_usage") == (20 * 500,)
    workers = "SELECT array_agg(pid ORDER BY pid), count(stopped_at) FROM flagstaff_report"
    assert query(workers) == (sorted(children), len(children))


@pytest.mark.smoke
def test_killed_child_leaves_no_session_and_keeps_the_parents(
    database: str, sessions: Sessions, tasks: Tasks
) -> None:
    with celery(database, tasks.folder, EVALUATE_AT_IMPORT="1") as server:
        children = children_with(tasks, lambda result: result["mode"] == "live")
        [parent] = [s for s in sessions() if s.owner == server.pid]
        os.kill(children[0], signal.SIGKILL)
        assert within(5, lambda: children[0] not in [s.owner for s in sessions()])
        assert parent in sessions()
        # A clean stop may hang, because the killed child may have held the pool's lock.
        server.end(signal.SIGKILL)
    assert within(2, lambda: sessions() == [])


# Each of the other tests ends its worker by SIGTERM.
@pytest.mark.parametrize("by", [signal.SIGQUIT, signal.SIGKILL])
def test_celery_worker_ended_by_a_signal_leaves_no_session(
    by: signal.Signals, database: str, sessions: Sessions, tasks: Tasks
) -> None:
    with celery(database, tasks.folder, EVALUATE_AT_IMPORT="1") as server:
        children_with(tasks, lambda result: result["mode"] == "live")
        started = time.monotonic()
        # A cold shutdown can deadlock on the lock of the pool's result queue, in any application.
        status = server.end(by, may_hang=by is signal.SIGQUIT)
        print(f"{by.name}: {status} after {time.monotonic() - started:.2f} s")
    assert "Fatal" not in server.log()
    assert within(5, lambda: sessions() == [])
