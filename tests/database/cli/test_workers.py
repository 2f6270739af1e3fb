"""`manage.py flags workers` and `status`."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from flagstaff._core import RULE_FORMAT
from flagstaff.models import FeatureFlag
from tests.support.fake_workers import Join, join, let_pass
from tests.support.forced_off import forced_off
from tests.support.terminals import document, flags, typed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]

__all__ = ["join"]


def test_workers_says_which_are_behind_and_for_how_long_and_lists_them_first(join: Join) -> None:
    slow, quick, polling = join("web-2", 7), join("web-1", 8), join("job-1", 9, "poll")
    slow.load()
    FeatureFlag.objects.update(enabled=False)
    slow.query("UPDATE flagstaff_token SET at = at - interval '12.5 minutes'")
    quick.load()
    polling.load()
    ran = flags("workers", "--json")
    assert ran.err.splitlines() == ["1 of 3 workers behind: web-2 (pid 7) for 12 min."]
    late, *current = json.loads(ran.out)
    assert 750 < late["behind_seconds"] < 810
    assert {(one["behind"], one["behind_seconds"]) for one in current} == {(False, None)}
    assert {one["session"] for one in current} == {quick.session, polling.session}
    assert "behind for 12 min" in typed("flags workers")


def test_workers_names_older_versions_and_those_that_reload(join: Join) -> None:
    join("web-1", pid=7, rule_format=1).load()
    join("web-2", 8, "reload").load()
    ran = flags("workers", "--json")
    found = {worker["host"]: worker for worker in json.loads(ran.out)}
    formats = {host: worker["rule_format"] for host, worker in found.items()}
    assert formats == {"web-1": 1, "web-2": RULE_FORMAT}
    assert (found["web-2"]["mode"], found["web-2"]["behind"]) == ("reload", None)
    assert "It is not known whether these are up to date: web-2 (pid 8)." in ran.err
    assert "An older version, which cannot read format 2 of rules: web-1 (pid 7)." in ran.err
    assert "RULE FORMAT" in typed("flags workers")


def test_workers_names_those_that_are_lost_and_counts_those_that_do_not_report(join: Join) -> None:
    join("web-1", 7).leave()
    let_pass(31)
    join("web-2", reports=False)
    ran = flags("workers", "--json")
    assert ran.err.splitlines() == [
        "No worker is registered.",
        "Connected workers that do not report: 1.",
        "Lost (killed, or without a connection): web-1 (pid 7).",
    ]
    [lost] = json.loads(ran.out)
    assert (lost["state"], lost["behind"], lost["is_expected"]) == ("lost", None, False)


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
