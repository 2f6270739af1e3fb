"""Workers behind a pooler, which write what they have applied into a table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from flagstaff import wait_for_workers
from flagstaff._engine.reports import prune_reports_in_batches
from flagstaff._workers import wait
from flagstaff._workers.overview import worker_overview
from flagstaff._workers.sessions import list_workers
from tests.database.workers.conftest import SetSteps
from tests.support.fake_workers import Join, beat, join
from tests.support.reports import register_worker
from tests.support.sql import rows, without_table

__all__ = ["join"]

pytestmark = pytest.mark.django_db(transaction=True)

DUE = 5.5 + 17
NO_TOKEN = (0, "00000000")


def listed() -> list[str]:
    return [str(worker) for worker in list_workers(connection).workers]


def test_wait_counts_workers_behind_a_pooler_that_have_polled_and_is_not_complete(
    set_steps: SetSteps,
) -> None:
    for number in range(3):
        beat(f"job-{number}", token=NO_TOKEN)
    set_steps(lambda: beat("job-0"), lambda: beat("job-1"))
    found = wait_for_workers(6)
    assert (found.complete, found.possibly_hidden, found.applied) == (False, True, 2)
    assert [str(worker) for worker in found.polling] == ["job-2 (pid 1)"]


def test_wait_for_named_workers_goes_on_until_hidden_ones_have_polled(set_steps: SetSteps) -> None:
    beat(token=NO_TOKEN)
    set_steps(beat)
    found = wait_for_workers(DUE + 1)
    assert (found.complete, found.polled, found.applied) == (False, True, 1)
    assert DUE <= found.seconds < DUE + 1


@pytest.mark.parametrize(
    "claim", [{"token": (2**63 - 1, "00000000")}, {"mode": "R"}], ids=["no such token", "reload"]
)
def test_heartbeat_that_proves_nothing_does_not_count(
    claim: dict[str, Any], set_steps: SetSteps
) -> None:
    beat(token=NO_TOKEN)
    set_steps(lambda: beat(**claim))
    assert wait_for_workers(6).applied == 0


def test_expected_workers_behind_a_pooler_are_not_missing(set_steps: SetSteps) -> None:
    beat("job-1", token=NO_TOKEN)
    assert wait_for_workers(0, expect=2).missing == 1
    set_steps(lambda: beat("job-1"), lambda: beat("job-2"))
    found = wait_for_workers(expect=2)
    assert (found.applied, found.missing) == (2, 0)


def test_heartbeat_shows_that_the_engine_uses_this_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wait, "server_address", lambda _connection: (object(),))
    beat(token=NO_TOKEN)
    found = wait_for_workers(0)
    assert (found.possibly_elsewhere, found.possibly_hidden) == (False, True)


def test_worker_whose_heartbeats_end_during_the_wait_is_disconnected(set_steps: SetSteps) -> None:
    beat(token=NO_TOKEN)
    set_steps(lambda: beat(token=NO_TOKEN, late=True))
    found = wait_for_workers(6)
    assert [str(worker) for worker in found.disconnected] == ["job-1 (pid 1)"]


def test_worker_whose_heartbeat_is_late_is_not_listed() -> None:
    beat("job-1", 1)
    beat("job-2", 2, late=True)
    register_worker(host="job-3")
    assert listed() == ["job-1 (pid 1)"]


def test_worker_with_a_session_and_a_heartbeat_is_listed_once(join: Join) -> None:
    join("web-1", 1)
    for worker in "ab":
        beat("web-1", 1, worker=worker)
    # The second heartbeat is that of a container with the same host and process id.
    assert listed() == ["web-1 (pid 1)"] * 2


def test_wait_tells_apart_workers_with_one_identity(set_steps: SetSteps) -> None:
    for worker in "ab":
        beat(worker=worker, token=NO_TOKEN)
    set_steps(lambda: beat(worker="a"))
    found = wait_for_workers(6)
    assert (found.applied, len(found.polling)) == (1, 1)


@pytest.fixture
def denied() -> Callable[[], list[str]]:
    """Lists the workers as a role without the right to read the table."""

    def denied() -> list[str]:
        rows("CREATE ROLE web; SET ROLE web")
        try:
            return listed()
        finally:
            rows("RESET ROLE; DROP ROLE web")

    return denied


def test_sessions_are_listed_without_the_table_or_the_right_to_read_it(
    join: Join, denied: Callable[[], list[str]]
) -> None:
    join("web-1", 1)
    beat()
    assert denied() == ["web-1 (pid 1)"]
    with without_table("flagstaff_report"):
        assert listed() == ["web-1 (pid 1)"]


def test_overview_shows_whether_a_worker_behind_a_pooler_is_behind(join: Join) -> None:
    join("web-1").load()
    rows("SELECT flagstaff_barrier_v1()")
    beat("job-1")
    beat("job-2", 2, token=NO_TOKEN)
    found = worker_overview(connection)
    states = {one.worker.host: (one.is_behind, one.connected_at is None) for one in found.workers}
    assert states == {"web-1": (True, False), "job-1": (False, True), "job-2": (True, True)}
    assert all(0 <= (one.idle_seconds or 0) < 60 for one in found.workers)
    by_host = {one.worker.host: one.worker.as_dict() for one in found.workers}
    assert by_host["job-2"]["session"] is None
    assert by_host["job-2"].keys() == by_host["web-1"].keys()


def test_worker_that_reports_usage_behind_a_pooler_is_not_unlisted() -> None:
    register_worker(host="job-1", pid=1)
    register_worker(host="job-2", pid=1)
    beat("job-1", 1)
    assert worker_overview(connection).unlisted == 1


def test_older_worker_behind_a_pooler_is_listed_as_older() -> None:
    beat("job-1", 7)
    assert worker_overview(connection).older == ()
    beat("job-1", 7, rule_format="r0")
    [older] = worker_overview(connection).older
    assert str(older.worker) == "job-1 (pid 7)"


def test_heartbeats_of_workers_that_were_killed_are_deleted_after_a_time() -> None:
    beat("job-1", 1)
    beat("job-2", 2, late=True)
    deleted = [*prune_reports_in_batches(timezone.now() - timedelta(seconds=10))]
    # The process of the tests may have reported its usage.
    left = rows("SELECT pid FROM flagstaff_report WHERE report = 'refresh'")
    assert (deleted, left) == ([1], [(1,)])
