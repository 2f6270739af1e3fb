"""`manage.py flags workers` and `status`."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from flagstaff._core import RULE_FORMAT
from flagstaff.models import FeatureFlag
from tests.support.fake_workers import (
    Join,
    join,
    no_reports,
    other_token_table,
)
from tests.support.forced_off import forced_off
from tests.support.reports import register_worker
from tests.support.sql import rows as query
from tests.support.terminals import document, flags, rows, typed

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("cli_shop", "no_reports"),
]

__all__ = ["join", "no_reports", "other_token_table"]


def test_workers_lists_workers_that_are_behind_first(join: Join) -> None:
    slow, quick, polling = join("web-2"), join("web-1"), join("job-1", mode="P")
    FeatureFlag.objects.update(enabled=False)
    quick.load()
    polling.load()
    found = {row[0]: row[4] for row in rows("workers")}
    assert found == {"web-2": "true", "web-1": "false", "job-1": "false"}
    assert next(iter(found)) == "web-2"
    slow.load()
    assert {row[4] for row in rows("workers")} == {"false"}


def test_workers_says_which_are_behind_and_for_how_long(join: Join) -> None:
    slow, quick = join("web-2", pid=7), join("web-1", pid=8)
    slow.load()
    FeatureFlag.objects.update(enabled=False)
    slow.query("UPDATE flagstaff_token SET at = at - interval '12.5 minutes'")
    quick.load()
    ran = flags("workers", "--json")
    assert ran.err.splitlines()[0] == "1 of 2 workers is behind: web-2 (pid 7) for 12 min."
    late, current = json.loads(ran.out)
    assert 750 < late["behind_seconds"] < 810
    assert (current["behind_seconds"], current["behind"]) == (None, False)
    assert late["connected_at"]
    assert "behind for 12 min" in typed("flags workers")


def test_workers_names_older_versions_and_unreadable_sessions(join: Join) -> None:
    join("web-1", pid=7, rule_format=None)
    join("web-2", mode="R")
    join("web-3").set_name("fs2 what is this")
    join().set_name("flagstaff")
    ran = flags("workers", "--json")
    found = {worker["host"]: worker for worker in json.loads(ran.out)}
    assert {host: worker["rule_format"] for host, worker in found.items()} == {
        "web-1": 0,
        "web-2": RULE_FORMAT,
        "fs2 what is this": None,
    }
    # A worker that reloads or whose name cannot be read has no state.
    unknown = [found["web-2"], found["fs2 what is this"]]
    assert [(one["mode"], one["behind"]) for one in unknown] == [
        ("reload", None),
        ("unreadable", None),
    ]
    assert "web-1 (pid 7) runs an older version, which cannot" in ran.err
    assert "1 session has no worker name" in ran.err
    assert "RULE FORMAT" in typed("flags workers")


def test_workers_counts_those_of_another_project(join: Join, other_token_table: int) -> None:
    join("web-1")
    join("web-2", table=other_token_table)
    ran = flags("workers", "--json")
    message = "1 worker of another project is not listed: it uses flagstaff_token in another schema"
    assert message in ran.err
    assert [worker["host"] for worker in json.loads(ran.out)] == ["web-1"]


def test_workers_counts_those_that_report_and_are_not_listed(join: Join) -> None:
    assert flags("workers").err.splitlines()[0] == "No worker is connected."
    for number in range(3):
        register_worker(host=f"web-{number}", pid=7, execute=query)
    # These have ended, or have missed a flush.
    register_worker(host="web-3", pid=7, stopped=True, execute=query)
    register_worker(host="web-4", pid=7, seconds_ago=131, execute=query)
    try:
        ran = flags("workers")
        assert ran.err.splitlines()[0] == "The server lists no worker."
        assert ran.err.splitlines()[1].startswith("3 more workers have reported in the last ")
        join("web-1", pid=7).load()
        assert "2 more workers have reported in the last minutes: they poll" in flags("workers").err
    finally:
        query("DELETE FROM flagstaff_report")


def test_workers_on_other_databases_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert flags("workers").status == 1


def test_status_in_direct_mode_counts_the_rows() -> None:
    assert "direct (evaluations query the database)" in typed("flags status")
    found = document("status")
    assert (found["mode"], found["ready"]) == ("direct", True)
    assert (found["flags"], found["values"]) == (5, 3)


def test_status_names_forced_off_flags() -> None:
    with forced_off(["search_v2", "new_checkout"]):
        assert document("status")["forced_off"] == ["new_checkout", "search_v2"]
        assert "forced_off     new_checkout, search_v2" in typed("flags status").splitlines()
    assert "forced_off     none" in typed("flags status").splitlines()
