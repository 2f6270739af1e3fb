"""Times and days that SQL has set to one that Python cannot represent."""

from __future__ import annotations

import pytest
from django.db import IntegrityError
from django.test import Client
from django.test.utils import override_settings

from flagstaff import changes, experiments
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES, page
from tests.support.experiment_pages import EXPERIMENTS
from tests.support.sql import rows
from tests.support.terminals import flags
from tests.support.worker_register import register_worker

# The page of recent changes shows committed ones only.
pytestmark = pytest.mark.django_db(transaction=True)

TIMES = pytest.mark.parametrize("time", ["infinity", "-infinity"])
KEY = "new_checkout"
RECENT, STALE = "/admin/flagstaff/recentchange/", "/admin/flagstaff/staleflag/"
#: The verbs that read rows. The document of an export and the list of stale flags show their days.
VERBS = (
    "list",
    "list --json",
    f"show {KEY} --json",
    f"history {KEY} --json",
    "history --csv",
    "stale --json",
    "export",
    "usage",
    "usage --unknown",
    "value list --json",
    "value get gateway",
    "segment list --json",
    "segment show beta",
    f"explain {KEY} 1",
    f"on {KEY} --dry-run",
)


def set_times(time: str) -> None:
    """Sets all times and days of a flag, a value and a segment."""
    rows(
        "UPDATE flagstaff_featureflag SET created_at = %s, changed_at = %s, review_on = %s",
        *(time,) * 3,
    )
    rows("UPDATE flagstaff_keyvaluestore SET changed_at = %s", time)
    rows("UPDATE flagstaff_segment SET created_at = %s, changed_at = %s", time, time)


@pytest.fixture(autouse=True)
def shop() -> None:
    changes.create(KEY, rollout_percent=25)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    Segment.objects.create(
        key="beta", conditions=[{"attribute": "is_staff", "operator": "in", "values": [True]}]
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("time", "use_tz"), [("infinity", True), ("-infinity", True), ("294276-12-31", False)]
)
def test_pages_and_verbs_show_rows_with_any_time(time: str, use_tz: bool, operator: Client) -> None:
    set_times(time)
    flag, value, segment = (
        model.objects.get().pk for model in (FeatureFlag, KeyValueStore, Segment)
    )
    with override_settings(USE_TZ=use_tz):
        for url in (FLAGS, VALUES, SEGMENTS, RECENT, STALE):
            page(operator, url)
        for url, pk in ((FLAGS, flag), (VALUES, value), (SEGMENTS, segment)):
            page(operator, f"{url}{pk}/change/")
            page(operator, f"{url}{pk}/history/")
        for line in VERBS:
            ran = flags(*line.split())
            assert ran.status == 0, (line, ran.err)


@TIMES
def test_flag_with_any_time_is_changed_undone_restored_and_brought_back(time: str) -> None:
    set_times(time)
    before = flag_version(KEY) or 0
    changes.set_rollout(KEY, 50)
    assert flags("on", KEY).status == flags("kill", KEY).status == 0
    restored = changes.flags.restore(KEY, to=before)
    assert changes.flags.undo(KEY, restored.version).written
    deleted = changes.delete(KEY)
    assert changes.flags.undo(KEY, deleted.version).written
    assert FeatureFlag.objects.get().rollout_percent == 50


@TIMES
def test_experiment_with_any_time_is_shown_and_deleted(time: str, operator: Client) -> None:
    experiments.create("banner", ["a", "b"])
    experiments.start("banner")
    columns = {
        "experiment": ("created_at", "started_at", "ended_at"),
        "phase": ("started_at", "ended_at"),
        "experimentevent": ("at",),
    }
    for table, names in columns.items():
        values = ", ".join(f"{name} = %s" for name in names)
        rows(f"UPDATE flagstaff_experiments_{table} SET {values}", *(time,) * len(names))
    [[pk]] = rows("SELECT id FROM flagstaff_experiments_experiment")
    for url in (EXPERIMENTS, f"{EXPERIMENTS}{pk}/change/", RECENT):
        page(operator, url)
    for line in ("experiments", "experiment banner show", "experiment banner report"):
        assert flags(*line.split()).status in {0, 4}, line
    assert flags("experiment", "banner", "stop").status == 0
    assert flags("experiment", "banner", "delete", "--yes").status == 0


@pytest.mark.parametrize(
    "column",
    [
        *("change.at", "token.at", "usage.hour", "usage.last_at"),
        *("worker.started_at", "worker.last_seen_at", "worker.expected_by", "worker.stopped_at"),
    ],
)
def test_time_that_python_cannot_represent_is_refused_where_triggers_and_workers_write(
    column: str,
) -> None:
    table, name = column.split(".")
    rows("INSERT INTO flagstaff_usage VALUES (now(), 'a', 'true', 1, now())")
    register_worker(stopped=True)
    try:
        for time in ("infinity", "-infinity", "294276-12-31"):
            with pytest.raises(IntegrityError, match=f"flagstaff_{table}_{name}_check"):
                rows(f"UPDATE flagstaff_{table} SET {name} = %s", time)
    finally:
        rows("DELETE FROM flagstaff_usage; DELETE FROM flagstaff_worker")
