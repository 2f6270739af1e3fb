"""Two changes that nobody notices alone, and that give a flag to everybody together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client

from flagstaff import changes
from flagstaff.actions import Kind, all_actions
from flagstaff.actions.commit import BusyError, commit, look_at
from flagstaff.actions.look import Look
from flagstaff.actions.table import Run
from flagstaff.changes.footprint import ChangedMeanwhileError, compare_alone
from flagstaff.exceptions import ConflictError
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, flag_url, row_url, typed, undo, undo_all_url, undo_at
from tests.support.concurrency import in_threads
from tests.support.fixtures import COMMITTED
from tests.support.plans import drive_recently
from tests.support.shop import Shop
from tests.support.terminals import asked
from tests.support.waiting import ask, make_due, run_jobs

pytestmark = COMMITTED

KEY = "invoices"
NOBODY = [
    {"attribute": "is_superuser", "operator": "in", "values": [True]},
    {"attribute": "is_staff", "operator": "in", "values": [False]},
]
EVERYBODY = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]

Door = Callable[[Client, Path], object]


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


def widen() -> Run:
    return run_of(Kind.SEGMENT, "conditions", Segment.objects.get(), conditions=EVERYBODY)


def is_open_to_all() -> bool:
    enabled = FeatureFlag.objects.values_list("enabled", flat=True).get()
    conditions = Segment.objects.values_list("conditions", flat=True).get()
    return bool(enabled and conditions == EVERYBODY)


def post(client: Client, url: str, **arguments: str) -> object:
    """Types the arguments on the page of an action, and answers no further question."""
    return client.post(url, typed(client, url, **arguments))


def import_of(directory: Path, **sections: Any) -> object:
    file = directory / "flags.json"
    file.write_text(json.dumps({"flagstaff": 1, "partial": True, **sections}))
    return asked(f"import {file}", "n")


def by_undo_of_a_kill(client: Client, _directory: Path) -> object:
    changes.flags.enable(KEY)
    return undo(client, changes.flags.disable(KEY).version)


def by_undo_of_a_narrowing(client: Client, _directory: Path) -> object:
    changes.segments.update("enterprise", {"conditions": EVERYBODY})
    narrowed = changes.segments.update("enterprise", {"conditions": NOBODY})
    return undo_at(client, undo_all_url(narrowed.version))


def by_job(line: str) -> object:
    ask(line, actor="eva")
    make_due()
    return run_jobs()


def by_selection(client: Client, _directory: Path) -> object:
    data = {"action": "on", "_selected_action": FeatureFlag.objects.get().pk, "_reason": ""}
    return client.post(FLAGS, data, follow=True)


TURNING_ON: dict[str, Door] = {
    "page": lambda client, _directory: post(client, flag_url(FeatureFlag.objects.get(), "on")),
    "selection": by_selection,
    "terminal": lambda _client, _directory: asked(f"on {KEY}", "n"),
    "undo": by_undo_of_a_kill,
    "import": lambda _client, directory: import_of(directory, flags={KEY: {"enabled": True}}),
    "job": lambda _client, _directory: by_job(f"on {KEY}"),
}
WIDENING: dict[str, Door] = {
    "page": lambda client, _directory: post(
        client,
        row_url(Segment.objects.get(), "conditions"),
        conditions=json.dumps(EVERYBODY),
    ),
    "terminal": lambda _client, _directory: asked(
        f"segment conditions enterprise '{json.dumps(EVERYBODY)}'", "n"
    ),
    "undo": by_undo_of_a_narrowing,
    "import": lambda _client, directory: import_of(
        directory, segments={"enterprise": {"conditions": EVERYBODY}}
    ),
    "job": lambda _client, _directory: by_job(
        f"segment conditions enterprise '{json.dumps(EVERYBODY)}'"
    ),
}
CASES = [
    *(pytest.param(door, widen, id=f"on by {name}") for name, door in TURNING_ON.items()),
    *(pytest.param(door, turn_on, id=f"wider by {name}") for name, door in WIDENING.items()),
]


@pytest.mark.parametrize(("door", "other"), CASES)
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

    monkeypatch.setattr("flagstaff.actions.commit.compare_alone", commit_other_first)
    door(client, tmp_path)
    assert FeatureFlag.objects.get().enabled or Segment.objects.get().conditions == EVERYBODY
    assert not is_open_to_all()


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
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes.flags.enable(KEY)
    kill, users = changes.flags.disable(KEY), [*User.objects.all()]

    def allow_first(seen: Look) -> object:
        monkeypatch.undo()
        changes.flags.allow(KEY, users)
        return commit(seen)

    monkeypatch.setattr("flagstaff.actions.commit.commit", allow_first)
    if door == "import":
        import_of(tmp_path, flags={KEY: {"enabled": True}})
    else:
        asked(f"on {KEY}" if door == "on" else f"undo {KEY} {kill.version}", "n")
    assert not FeatureFlag.objects.get().enabled
