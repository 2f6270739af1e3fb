"""`flags watch`: each change once, when it is committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from flagstaff._attribution.writes import acting_as
from flagstaff.changes import add_allowed_users, set_rollout, set_value
from flagstaff.cli import watch
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.following import Following
from flagstaff.models import FeatureFlag
from tests.fake_workers import FakeWorker
from tests.step_clock import StepClock
from tests.terminals import Ran, flags, open_shop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    open_shop()


def watched(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], Any], json: bool = False) -> Ran:
    """What is told while this happens, a step between two looks."""
    monkeypatch.setattr(watch, "time", StepClock(*steps))
    options = ["--interval", "1", "--seconds", str(len(steps) + 1), *(["--json"] * json)]
    return flags("watch", *options)


def test_watch_tells_each_change_once_and_nothing_from_before(
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


def test_watch_in_json_has_a_document_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = watched(monkeypatch, lambda: set_rollout("new_checkout", 50), json=True)
    [line] = ran.out.splitlines()
    assert json.loads(line)["key"] == "new_checkout"


def test_watch_does_not_tell_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = watched(monkeypatch, lambda: set_value("mail_password", "hunter3"))
    assert "mail_password" in ran.out
    assert "hunter" not in ran.out


def test_watch_ends_with_the_time() -> None:
    ran = flags("watch", "--seconds", "0")
    assert (ran.status, ran.out, ran.err) == (0, "", "watching; Ctrl-C ends it\n")


@pytest.mark.parametrize("typed", ["soon", "-1", "nan"])
def test_watch_refuses_what_are_no_seconds(typed: str) -> None:
    assert flags("watch", "--interval", typed).status != 0


def test_change_that_commits_late_is_told_though_a_later_version_was_told_before() -> None:
    seen = Following()
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'dark_mode'")
    FeatureFlag.objects.filter(key="search_v2").update(enabled=False)
    [told] = seen.look()
    assert told.key == "search_v2"
    other.query("COMMIT")
    [late] = seen.look()
    assert (late.key, late.version < told.version) == ("dark_mode", True)
    assert seen.look() == []
    other.leave()


def test_entry_of_another_server_is_not_told_when_its_number_comes_up() -> None:
    seen = Following()
    FeatureFlag.objects.filter(key="search_v2").update(enabled=False)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_change SET at = at - interval '2 days'")
    assert seen.look() == []


def test_change_that_is_rolled_back_is_never_told() -> None:
    seen = Following()
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'dark_mode'")
    assert seen.look() == []
    other.query("ROLLBACK")
    assert seen.look() == []
    other.leave()


def test_there_is_nothing_to_follow_without_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    with pytest.raises(NoHistoryError):
        Following()
