"""`manage.py flags watch`: prints each change once, after its commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from flagstaff._attribution.writes import acting_as
from flagstaff.changes import add_allowed_users, set_rollout, set_value
from flagstaff.cli.verbs import history
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.following import Following
from flagstaff.models import FeatureFlag
from tests.support.fake_workers import FakeWorker
from tests.support.step_clock import StepClock
from tests.support.terminals import Ran, flags

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


def watched(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], Any], json: bool = False) -> Ran:
    """Runs `watch`, with one step between two queries."""
    StepClock(*steps).install(monkeypatch, history)
    options = ["--interval", "1", "--seconds", str(len(steps) + 1), *(["--json"] * json)]
    return flags("watch", *options)


def test_watch_prints_each_new_change_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_alice() -> None:
        with acting_as(1, reason="all is well"):
            set_rollout("new_checkout", 50)

    def in_code() -> None:
        add_allowed_users("new_checkout", 2)
        set_value("page_size", 30)

    ran = watched(monkeypatch, by_alice, in_code)
    first, second, third = (line.split("\t")[1:] for line in ran.out.splitlines())
    assert first == [
        *("new_checkout", "rollout_percent 25 → 50", "alice", "code", "all is well"),
    ]
    assert second[:2] == ["new_checkout", "added 1 allowed user"]
    assert third[:2] == ["page_size", "value 20 → 30"]


def test_watch_as_json_prints_one_document_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = watched(monkeypatch, lambda: set_rollout("new_checkout", 50), json=True)
    [line] = ran.out.splitlines()
    assert json.loads(line)["key"] == "new_checkout"


def test_watch_masks_secret_values(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = watched(monkeypatch, lambda: set_value("mail_password", "hunter3"))
    assert "mail_password" in ran.out
    assert "hunter" not in ran.out


def test_watch_stops_after_its_seconds() -> None:
    ran = flags("watch", "--seconds", "0")
    assert (ran.status, ran.out, ran.err) == (0, "", "watching for changes; press Ctrl-C to stop\n")


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_watch_refuses_an_invalid_interval(text: str) -> None:
    assert flags("watch", "--interval", text).status != 0


def test_late_commit_with_a_lower_version_is_found() -> None:
    seen = Following()
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'dark_mode'")
    FeatureFlag.objects.filter(key="search_v2").update(enabled=False)
    [first] = seen.look()
    assert first.key == "search_v2"
    other.query("COMMIT")
    [late] = seen.look()
    assert (late.key, late.version < first.version) == ("dark_mode", True)
    assert seen.look() == []
    other.leave()


def test_old_entry_with_a_new_number_is_not_found() -> None:
    seen = Following()
    FeatureFlag.objects.filter(key="search_v2").update(enabled=False)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_change SET at = at - interval '2 days'")
    assert seen.look() == []


def test_rolled_back_change_is_not_found() -> None:
    seen = Following()
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'dark_mode'")
    assert seen.look() == []
    other.query("ROLLBACK")
    assert seen.look() == []
    other.leave()


def test_following_without_a_history_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    with pytest.raises(NoHistoryError):
        Following()
