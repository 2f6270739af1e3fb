"""The register of workers: which are lost, and which rows go."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from flagstaff._tables.database import fill, own_names, sql
from flagstaff._workers.register import ReportKind, lost_workers, prune_reports_in_batches
from tests.support.reports import register_worker
from tests.support.sql import rows, without_table
from tests.support.usage_rows import delete_usage

DAY = 86_400
REPORTS: tuple[ReportKind, ...] = ("usage", "measurements", "exposures")


@pytest.fixture(autouse=True)
def _no_worker() -> None:
    delete_usage()


def flush(worker: str, sequence: int, *, is_last: bool = False) -> bool:
    """Flushes for a process of one host, and returns whether the flush is accepted."""
    head = re.sub(r"\$\d", "%s", fill(sql("accept_flush_v1"), own_names(connection)))
    values = (worker, "usage", "web-1", 7, 0, 60.0, sequence, 60.0, is_last, "")
    [[accepted]] = rows(f"WITH {head} SELECT count(*) FROM accepted", *values)
    return bool(accepted)


def test_flush_is_accepted_once_per_sender_though_host_and_process_are_the_same() -> None:
    numbers = [("a", 1), ("a", 1), ("b", 1), ("a", 3), ("a", 2), ("b", 2)]
    accepted = [flush(worker, number) for worker, number in numbers]
    assert accepted == [True, False, True, True, False, True]
    query = (
        "SELECT worker, sequence, expected_by - last_seen_at >= interval '130 s', stopped_at "
        "IS NULL FROM flagstaff_report ORDER BY worker"
    )
    assert rows(query) == [("a", 3, True, True), ("b", 2, True, True)]
    assert flush("a", 4, is_last=True)
    assert rows(query)[0] == ("a", 4, True, False)


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("interval", [0.1, 5, 60])
def test_worker_is_lost_after_two_intervals_and_ten_seconds_without_its_end(
    report: ReportKind, interval: float
) -> None:
    late = 2 * interval + 10
    register_worker(report, pid=1, interval=interval, seconds_ago=late - 2)
    register_worker(report, pid=2, interval=interval, seconds_ago=late + 2)
    register_worker(report, pid=3, interval=interval, seconds_ago=late + 2, stopped=True)
    lost_by_report = {after: [lost.pid for lost in lost_workers(after)] for after in REPORTS}
    assert lost_by_report == {after: [2] if after == report else [] for after in REPORTS}


def test_workers_lost_before_or_after_a_period_are_left_out() -> None:
    now = timezone.now()
    for pid, seconds in (1, 3600), (2, 900), (3, 30):
        register_worker("measurements", pid=pid, interval=5, at=now - timedelta(seconds=seconds))
    begin, end = now - timedelta(seconds=890), now - timedelta(seconds=60)
    [lost] = lost_workers("measurements", since=begin, now=end)
    assert (lost.pid, lost.expected_by) == (2, now - timedelta(seconds=880))


def test_workers_that_ended_and_all_old_ones_of_usage_are_deleted() -> None:
    kept = []
    for pid, (report, days, stopped) in enumerate(
        (report, days, stopped)
        for report in REPORTS
        for days in (0.9, 1.1)
        for stopped in (True, False)
    ):
        register_worker(report, pid=pid, seconds_ago=days * DAY, stopped=stopped)
        if days < 1 or (report != "usage" and not stopped):
            kept.append(pid)
    assert list(prune_reports_in_batches(timezone.now() - timedelta(days=1))) == [4]
    assert [pid for (pid,) in rows("SELECT pid FROM flagstaff_report ORDER BY pid")] == kept


def test_no_worker_is_deleted_before_the_migration_or_on_other_databases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with without_table("flagstaff_report"):
        assert list(prune_reports_in_batches(timezone.now())) == []
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert list(prune_reports_in_batches(timezone.now())) == []
