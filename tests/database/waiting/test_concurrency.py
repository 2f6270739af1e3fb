"""Jobs and people at once, each with a connection of its own."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag, WaitingAction
from flagstaff.waiting import running
from tests.support.concurrency import in_threads, run_during
from tests.support.fixtures import COMMITTED
from tests.support.plans import drive_recently
from tests.support.shop import Shop
from tests.support.terminals import run
from tests.support.waiting import TOMORROW, ask, make_due

pytestmark = COMMITTED

KEY = "summer_banner"


@pytest.fixture(autouse=True)
def disabled_flag(shop: Shop) -> None:
    shop.user("ana")
    shop.flag(KEY)
    drive_recently()


def run_due() -> list[str]:
    return [report.state for report in running.run_due(Event())]


def test_jobs_of_ten_processes_run_an_action_once() -> None:
    ask(f"release {KEY}")
    make_due()
    reports = in_threads(*[run_due] * 10)
    assert [state for states in reports for state in states] == ["done"]
    assert Change.objects.filter(source__startswith="waiting").count() == 1


@pytest.mark.parametrize(
    ("line", "meanwhile"),
    [
        (f"on {KEY}", lambda: changes.flags.disable(KEY)),
        (f"on {KEY}", lambda: WaitingAction.objects.update(state="cancelled")),
        (f"plan start {KEY} --enable", lambda: changes.flags.disable(KEY)),
    ],
    ids=["kill", "cancel", "kill of a flag with a plan"],
)
def test_kill_or_cancel_while_an_action_runs_stops_it(
    line: str, meanwhile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(line)
    make_due()
    compare = running.require_consequence

    def compare_and_stop(*arguments: Any) -> None:
        compare(*arguments)
        in_threads(meanwhile)

    monkeypatch.setattr(running, "require_consequence", compare_and_stop)
    assert run_due() == []
    assert WaitingAction.objects.get().state == "cancelled"
    assert not FeatureFlag.objects.get().enabled


def test_action_that_meets_a_kill_of_a_flag_that_is_off_does_not_run() -> None:
    ask(f"on {KEY}")
    make_due()
    assert run_during(lambda: changes.flags.disable(KEY), run_due) == []
    assert WaitingAction.objects.get().state == "cancelled"
    assert not FeatureFlag.objects.get().enabled


def during_a_decision(options: str, work: Callable[[str, str], Any]) -> Any:
    """Starts work on a due period while another transaction locks its begin, then its end."""
    until = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    ask(f"on {KEY} --at {TOMORROW} --until {until} {options}")
    make_due()
    begin, end = WaitingAction.objects.order_by("id")
    lock_begin, lock_end = (
        partial(WaitingAction.objects.filter(pk=row.pk).update, approval="ok")
        for row in (begin, end)
    )
    return run_during(lock_begin, lambda: work(begin.key, end.key), lock_end)


@pytest.mark.parametrize("part", [0, 1], ids=["begin", "end"])
@pytest.mark.parametrize(
    ("verb", "states"),
    [
        ("cancel", ["cancelled", "cancelled"]),
        ("refuse", ["refused", "refused"]),
        ("approve", ["waiting", "waiting"]),
    ],
)
def test_decision_about_a_period_locks_the_begin_before_the_end(
    verb: str, states: list[str], part: int, shop: Shop
) -> None:
    shop.user("ben")
    decided = during_a_decision(
        "--request", lambda *keys: run(f"waiting {verb} {keys[part]} --as ben")
    )
    assert decided.status == 0, decided.err
    assert [row.state for row in WaitingAction.objects.order_by("id")] == states


def test_kill_locks_what_it_cancels_in_the_order_of_the_numbers() -> None:
    """A deadlock would leave what gives the flag waiting."""
    until = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    for line, at in ((f"on {KEY}", TOMORROW), (f"unit {KEY} visitor", until)):
        ask(f"{line} --at {at}")
    first, second = WaitingAction.objects.order_by("id")
    # Now the second one is before it in the table.
    WaitingAction.objects.filter(pk=first.pk).update(run_at=F("run_at") + timedelta(days=1))
    lock_first, lock_second = (
        partial(WaitingAction.objects.filter(pk=row.pk).update, approval="ok")
        for row in (first, second)
    )
    run_during(lock_first, lambda: changes.flags.disable(KEY), lock_second)
    assert {row.state for row in WaitingAction.objects.all()} == {"cancelled"}


def test_end_of_a_period_that_runs_locks_the_begin_first() -> None:
    assert during_a_decision("--request", lambda *_keys: run_due()) == ["done"]
    states = WaitingAction.objects.order_by("id").values_list("state", flat=True)
    assert [*states] == ["failed", "done"]
