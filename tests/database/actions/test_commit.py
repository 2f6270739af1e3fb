"""Two changes that nobody notices alone, and that give a flag to everybody together."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from threading import Barrier, BrokenBarrierError, local
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils.module_loading import import_string

from flagstaff import changes
from flagstaff.actions import Kind, all_actions
from flagstaff.actions import commit as committing
from flagstaff.actions.commit import commit, look_at
from flagstaff.actions.table import Look, Run
from flagstaff.changes import Changed
from flagstaff.changes.locking import ChangedMeanwhileError, compare_alone
from flagstaff.exceptions import BusyError, ConflictError
from flagstaff.models import FeatureFlag, Segment, WaitingAction
from flagstaff.rollouts import plans
from tests.support.admin_pages import FLAGS, asks, confirmed, row_url, text_of, typed, undo_all_url
from tests.support.concurrency import in_threads
from tests.support.fixtures import COMMITTED
from tests.support.plans import drive_recently
from tests.support.repeats import repeats
from tests.support.shop import Shop
from tests.support.terminals import asked, on_terminal, terminal
from tests.support.waiting import ask, make_due, run_jobs

pytestmark = COMMITTED

KEY = "invoices"
NOBODY = [
    {"attribute": "is_superuser", "operator": "in", "values": [True]},
    {"attribute": "is_staff", "operator": "in", "values": [False]},
]
EVERYBODY = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]

Act = Callable[[], object]
#: Writes what must be there before, and returns what a session does then. It confirms nothing by
#: which users gain a flag.
Door = Callable[[Client, Path], Act]
#: Where a session waits for the other one: before its look, its write, and its comparison.
STAGES = ("start", "_transaction", "compare_alone")


@pytest.fixture(autouse=True)
def invoices_for_nobody(shop: Shop) -> None:
    """A flag that is off, and whose rule is for a segment in which nobody is."""
    for name in ("ana", "bea", "cem"):
        shop.user(name)
    shop.segment(conditions=NOBODY)
    shop.flag(KEY, enabled=False)
    drive_recently()


@pytest.fixture
def client(shop: Shop) -> Client:
    return shop.client("eva", is_superuser=True)


def run_of(kind: Kind, name: str, row: Any, **arguments: Any) -> Run:
    action = next(action for action in all_actions(kind) if action.name == name)
    return Run(action, [row.key], [row], arguments)


def turn_on() -> Run:
    return run_of(Kind.FLAG, "on", FeatureFlag.objects.get())


def start_plan() -> Run:
    plans.create(KEY, steps=["50:1h", "100"])
    action = next(action for action in all_actions("plan") if action.name == "start")
    return Run(action, [KEY], [], {"enable": True})


def widen() -> Run:
    return run_of(Kind.SEGMENT, "conditions", Segment.objects.get(), conditions=EVERYBODY)


def is_open_to_all() -> bool:
    enabled = FeatureFlag.objects.values_list("enabled", flat=True).get()
    conditions = Segment.objects.values_list("conditions", flat=True).get()
    return bool(enabled and conditions == EVERYBODY)


def by_page(model: Any, action: str, **arguments: str) -> Door:
    def open_page(client: Client, _directory: Path) -> Act:
        url = row_url(model.objects.get(), action)
        data = typed(client, url, **arguments)
        return lambda: client.post(url, data)

    return open_page


def by_selection(client: Client, _directory: Path) -> Act:
    data = {"action": "on", "_selected_action": FeatureFlag.objects.get().pk, "_reason": ""}
    return lambda: client.post(FLAGS, data, follow=True)


def by_terminal(line: str) -> Door:
    return lambda _client, _directory: lambda: on_terminal(line)


def by_import(**sections: Any) -> Door:
    def write_file(_client: Client, directory: Path) -> Act:
        file = directory / f"{min(sections)}.json"
        file.write_text(json.dumps({"flagstaff": 1, "partial": True, **sections}))
        return lambda: on_terminal(f"import {file}")

    return write_file


def by_undo(before: Callable[[], object], undone: Callable[[], Changed]) -> Door:
    """The page is confirmed unless it says that users gain something."""

    def write_first(client: Client, _directory: Path) -> Act:
        before()
        url = undo_all_url(undone().version)

        def undo_unless_users_gain() -> None:
            response = client.get(url)
            gain = re.search(r"\d+ (different )?users? gain", text_of(response.content.decode()))
            if asks(response) and not gain:
                client.post(url, confirmed(response))

        return undo_unless_users_gain

    return write_first


def by_job(line: str) -> Door:
    def ask_first(_client: Client, _directory: Path) -> Act:
        ask(line, actor="eva")
        make_due()
        return run_jobs

    return ask_first


ON, WIDER = f"on {KEY}", f"segment conditions enterprise '{json.dumps(EVERYBODY)}'"
TURNING_ON: dict[str, Door] = {
    "page": by_page(FeatureFlag, "on"),
    "selection": by_selection,
    "terminal": by_terminal(ON),
    "undo": by_undo(partial(changes.flags.enable, KEY), partial(changes.flags.disable, KEY)),
    "import": by_import(flags={KEY: {"enabled": True}}),
    "job": by_job(ON),
}
WIDENING: dict[str, Door] = {
    "page": by_page(Segment, "conditions", conditions=json.dumps(EVERYBODY)),
    "terminal": by_terminal(WIDER),
    "undo": by_undo(
        partial(changes.segments.update, "enterprise", {"conditions": EVERYBODY}),
        partial(changes.segments.update, "enterprise", {"conditions": NOBODY}),
    ),
    "import": by_import(segments={"enterprise": {"conditions": EVERYBODY}}),
    "job": by_job(WIDER),
}
CASES = [
    *(pytest.param(door, widen, id=f"on by {name}") for name, door in TURNING_ON.items()),
    *(pytest.param(door, turn_on, id=f"wider by {name}") for name, door in WIDENING.items()),
]


@pytest.mark.parametrize(("door", "other"), CASES)
@pytest.mark.one_in(2)
def test_change_beside_another_one_is_asked_about_again(
    door: Door,
    other: Callable[[], Run],
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one is looked at before this one, and committed before this one is compared."""
    seen = look_at(other())
    assert not seen.asks

    def commit_other_first() -> None:
        monkeypatch.undo()
        in_threads(lambda: commit(seen))
        compare_alone()

    act = door(client, tmp_path)
    monkeypatch.setattr("flagstaff.actions.commit.compare_alone", commit_other_first)
    with terminal(lambda: "n"):
        act()
    assert FeatureFlag.objects.get().enabled or Segment.objects.get().conditions == EVERYBODY
    assert not is_open_to_all()


@pytest.mark.thorough
@pytest.mark.timeout(repeats(1_800, 300))
def test_two_sessions_at_random_moments_never_open_it(
    client: Client, shop: Shop, tmp_path: Path
) -> None:
    waiting_at, meetings = local(), dict[str, int]()

    def meet(barrier: Barrier) -> None:
        with suppress(BrokenBarrierError):
            barrier.wait()
            meetings["met"] = meetings.get("met", 0) + 1

    def stopping_at(stage: str) -> Any:
        function = getattr(committing, stage)

        def wait_first() -> Any:
            if getattr(waiting_at, "stage", "") == stage:
                waiting_at.stage = ""
                meet(waiting_at.barrier)
            return function()

        return patch.object(committing, stage, wait_first)

    def session(act: Act, stage: str, barrier: Barrier) -> Act:
        def run() -> None:
            waiting_at.stage, waiting_at.barrier = stage, barrier
            if stage == "start":
                meet(barrier)
            act()
            # The other one need not wait for what was refused.
            barrier.abort()

        return run

    clients = client, shop.client("ida", is_superuser=True)
    with terminal(lambda: "n"), stopping_at(STAGES[1]), stopping_at(STAGES[2]):
        for seed in range(repeats(200, 10)):
            random = Random(seed)
            pair = random.choice([*TURNING_ON]), random.choice([*WIDENING])
            stages = random.choice(STAGES), random.choice(STAGES)
            doors = TURNING_ON[pair[0]], WIDENING[pair[1]]
            acts = [door(browser, tmp_path) for door, browser in zip(doors, clients, strict=True)]
            barrier = Barrier(2, timeout=2)
            in_threads(*(session(*each, barrier) for each in zip(acts, stages, strict=True)))
            assert not is_open_to_all(), (seed, pair, stages)
            FeatureFlag.objects.update(enabled=False)
            Segment.objects.update(conditions=NOBODY)
            WaitingAction.objects.all().delete()
    assert meetings["met"] > repeats(200, 10)


def test_job_sees_what_is_committed_meanwhile_whatever_isolation_the_project_has(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction has read the database before the other one is committed."""
    ask(f"on {KEY}", actor="eva")
    make_due()
    seen = look_at(widen())

    def commit_other_first() -> None:
        monkeypatch.undo()
        in_threads(lambda: commit(seen))
        compare_alone()

    monkeypatch.setattr("flagstaff.actions.commit.compare_alone", commit_other_first)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.current_database()")
        [[database]] = cursor.fetchall()
        default = f'ALTER DATABASE "{database}" SET default_transaction_isolation'
        cursor.execute(f"{default} = 'repeatable read'")
    try:
        connection.close()
        [report] = run_jobs()
    finally:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(f"{default} = 'read committed'")
        # This session, which later tests would use, has begun with the other default.
        connection.close()
    assert report["state"] == "failed"
    assert not is_open_to_all()


@pytest.mark.parametrize("both", [(turn_on, widen), (widen, turn_on)], ids=["on", "wider"])
def test_second_of_two_looks_is_refused(both: tuple[Callable[[], Run], ...]) -> None:
    first, second = (look_at(run()) for run in both)
    commit(first)
    with pytest.raises(ChangedMeanwhileError, match="has changed meanwhile; look at it again"):
        commit(second)
    assert not is_open_to_all()


@pytest.mark.parametrize(
    ("run", "counting"),
    [
        (turn_on, "flagstaff.actions.commit.count_users"),
        (start_plan, "flagstaff.rollouts.looks.impact"),
    ],
    ids=["flag", "plan"],
)
def test_change_during_the_count_is_a_difference(
    run: Callable[[], Run], counting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = import_string(counting)

    def widen_afterwards(*arguments: Any, **options: Any) -> object:
        monkeypatch.undo()
        counted = count(*arguments, **options)
        in_threads(lambda: commit(look_at(widen())))
        return counted

    monkeypatch.setattr(counting, widen_afterwards)
    seen = look_at(run())
    with pytest.raises(ChangedMeanwhileError):
        commit(seen)
    assert not is_open_to_all()


def test_fields_that_do_not_decide_are_no_conflict() -> None:
    seen = replace(look_at(turn_on()), expected={})
    changes.segments.update("enterprise", {"description": "Customers with a contract since May"})
    changes.flags.update(KEY, {"description": "Invoices as PDF", "owner": "billing"})
    commit(seen)
    assert FeatureFlag.objects.get().enabled


def test_segment_of_a_flag_that_uses_it_besides_is_compared() -> None:
    """Two segments in one condition: nobody gains by one of them, everybody by both."""
    rules = [{"conditions": [{"segment": "enterprise"}, {"segment": "other"}]}]
    Segment.objects.create(key="other", conditions=NOBODY)
    changes.flags.update(KEY, {"enabled": True, "rules": rules})
    enterprise, other = (
        run_of(Kind.SEGMENT, "conditions", segment, conditions=EVERYBODY)
        for segment in Segment.objects.order_by("key")
    )
    first, second = look_at(enterprise), look_at(other)
    commit(first)
    with pytest.raises(ChangedMeanwhileError) as error:
        commit(second)
    # A person who may see this segment may see neither that flag nor what else it names.
    assert KEY not in str(error.value)
    assert "enterprise" not in str(error.value)


def test_twelve_writers_at_once_never_open_it_and_never_deadlock() -> None:
    looks = [look_at(run()) for run in (turn_on, widen) * 6]

    def write(seen: Look) -> str:
        try:
            commit(seen)
        except (ChangedMeanwhileError, BusyError) as error:
            return type(error).__name__
        except ConflictError:
            return "version"
        return "written"

    results = in_threads(*((lambda seen=seen: write(seen)) for seen in looks))
    assert results.count("written") == 1
    assert not is_open_to_all()


def test_kill_never_waits_for_a_comparison() -> None:
    """Another session compares, and does not end."""
    FeatureFlag.objects.update(enabled=True)
    with transaction.atomic():
        compare_alone()
        in_threads(lambda: asked(f"kill {KEY}"))
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.parametrize("door", ["on", "undo", "import"])
def test_users_who_are_allowed_before_the_flag_is_turned_on_are_asked_about(
    door: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes.flags.enable(KEY)
    kill, users = changes.flags.disable(KEY), [*User.objects.all()]

    def allow_first(seen: Look) -> object:
        monkeypatch.undo()
        changes.flags.allow(KEY, users)
        return commit(seen)

    monkeypatch.setattr("flagstaff.actions.commit.commit", allow_first)
    with terminal(lambda: "n"):
        if door == "import":
            by_import(flags={KEY: {"enabled": True}})(client, tmp_path)()
        else:
            on_terminal(ON if door == "on" else f"undo {KEY} {kill.version}")
    assert not FeatureFlag.objects.get().enabled
