"""HISTORY_DAYS, USAGE_DAYS and EXPOSURE_DAYS: what `run-jobs` deletes, and how much at once."""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import changes
from flagstaff._engine import usage
from flagstaff.cli.verbs import jobs as retention
from flagstaff.cli.verbs.jobs import RetentionJob
from flagstaff.history import retention as history_retention
from flagstaff.models import Change
from tests.support.reports import register_worker
from tests.support.sql import keep_indexes, rows
from tests.support.stale_flags import age_history, evaluate, make_flag
from tests.support.terminals import delete_usage, document, flags

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_tables() -> None:
    Change.objects.all().delete()
    delete_usage()


def keep(settings: Any, **days: int) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, **days}


def old_changes(count: int) -> None:
    """A flag whose history has so many old entries besides those of its creation."""
    make_flag()
    for number in range(count):
        changes.flags.update("new_checkout", {"description": str(number)})
    age_history(100)


def test_nothing_is_deleted_without_a_setting() -> None:
    old_changes(3)
    before = Change.objects.count()
    assert "retention" not in document("run-jobs")
    assert Change.objects.count() == before


def test_history_days_delete_old_entries_but_the_newest_of_each_row(settings: Any) -> None:
    old_changes(3)
    changes.flags.create("later")
    keep(settings, HISTORY_DAYS=90)
    newest = changes.flags.update("later", {"description": "new"}).version
    count = Change.objects.count()
    report = {"rows": "history", "deleted": count - 3, "error": None}
    assert document("run-jobs")["retention"] == [report]
    kept = Change.objects.filter(key="new_checkout").values_list("new__description", flat=True)
    assert list(kept) == ["2"]
    assert Change.objects.filter(key="later").latest("id").pk == newest
    assert document("run-jobs")["retention"] == [{**report, "deleted": 0}]


def test_usage_days_delete_old_hours(settings: Any) -> None:
    for days in (10, 80, 100, 200):
        evaluate("new_checkout", days)
    keep(settings, USAGE_DAYS=90)
    assert flags("run-jobs").out == "usage\t2\t\n"
    assert rows("SELECT count(*) FROM flagstaff_usage") == [(2,)]


def test_workers_that_ended_yesterday_are_deleted_without_a_setting() -> None:
    for report in ("usage", "measurements", "exposures"):
        register_worker(report, seconds_ago=90_000, stopped=True)
    assert flags("run-jobs").out == "workers\t3\t\n"
    assert "retention" not in document("run-jobs")


def test_run_stops_when_its_time_is_over_and_the_next_one_goes_on(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_MAX_SECONDS", 0.0)
    monkeypatch.setattr(history_retention, "_BATCH", 2)
    old_changes(5)
    keep(settings, HISTORY_DAYS=90)
    job, deleted = RetentionJob(), []
    while reports := job.run(Event()):
        deleted.append(reports[0].deleted)
    # Of seven entries, the newest stays. At the end, a loop looks for others after a pause.
    assert (deleted[:3], sum(deleted)) == ([2, 2, 2], 6)


def test_stopped_run_deletes_one_batch(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_BATCH", 1)
    for days in (100, 110, 120):
        evaluate("new_checkout", days)
    keep(settings, USAGE_DAYS=90)
    stop = Event()
    stop.set()
    [report] = RetentionJob().run(stop)
    assert report.deleted == 1


def test_error_of_one_kind_leaves_the_others(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise DatabaseError("private@person.example")

    monkeypatch.setattr(retention, "prune_in_batches", fail)
    evaluate("new_checkout", 100)
    keep(settings, HISTORY_DAYS=90, USAGE_DAYS=90)
    ran = flags("run-jobs", "--json")
    assert ran.status == 1
    history, of_usage = json.loads(ran.out)["retention"]
    assert (history["error"], of_usage["deleted"]) == ("DatabaseError", 1)
    assert "private" not in ran.out + ran.err


def test_batches_find_their_entries_by_an_index() -> None:
    # The planner looks at the size of the file, which has the dead rows of other tests.
    rows("TRUNCATE flagstaff_change")
    old_changes(3)
    with CaptureQueriesContext(connection) as queries:
        list(history_retention.prune_in_batches(timezone.now() - timedelta(days=90)))
    [batch] = [one["sql"] for one in queries if "DELETE FROM" in one["sql"]]
    keep_indexes("flagstaff_change", "flagstaff_change_pkey", "flagstaff_change_object")
    plan = "\n".join(line for (line,) in rows("EXPLAIN " + batch))
    assert "flagstaff_change_pkey" in plan
    assert "flagstaff_change_object" in plan
    assert "Seq Scan on flagstaff_change" not in plan
