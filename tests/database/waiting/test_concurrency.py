"""Jobs and people at once, each with a connection of its own."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag, WaitingAction
from flagstaff.waiting import running
from tests.support.concurrency import in_threads, run_during
from tests.support.fixtures import COMMITTED
from tests.support.waiting import ask, make_due

pytestmark = COMMITTED


@pytest.fixture(autouse=True)
def waiting() -> WaitingAction:
    User.objects.create_user("ana", is_superuser=True)
    FeatureFlag.objects.create(key="pay")
    found = ask("release pay")
    make_due()
    return found


def run_jobs() -> list[str]:
    return [report.state for report in running.run_due(Event())]


def kill() -> object:
    return changes.flags.disable("pay")


def test_jobs_of_ten_processes_run_an_action_once() -> None:
    found = in_threads(*[run_jobs] * 10)
    assert [state for states in found for state in states] == ["done"]
    assert Change.objects.filter(source__startswith="waiting").count() == 1


def test_kill_of_a_flag_that_is_off_stops_an_action_that_is_running(
    waiting: WaitingAction, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = running.require_consequence

    def kill_after_the_count(*given: Any) -> None:
        compare(*given)
        in_threads(kill)

    monkeypatch.setattr(running, "require_consequence", kill_after_the_count)
    assert run_jobs() == []
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert not FeatureFlag.objects.get(key="pay").enabled


def test_action_that_meets_a_kill_of_a_flag_that_is_off_does_not_run(
    waiting: WaitingAction,
) -> None:
    assert run_during(kill, run_jobs) == []
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert not FeatureFlag.objects.get(key="pay").enabled


def test_cancel_while_an_action_runs_stops_it(
    waiting: WaitingAction, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = running.require_consequence

    def cancel_after_the_count(*given: Any) -> None:
        compare(*given)
        cancel = WaitingAction.objects.filter(pk=waiting.pk)
        in_threads(lambda: cancel.update(state="cancelled"))

    monkeypatch.setattr(running, "require_consequence", cancel_after_the_count)
    assert run_jobs() == []
    assert not FeatureFlag.objects.get(key="pay").enabled
