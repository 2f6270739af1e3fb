"""`manage.py flags … --dry-run` writes nothing, and says what the real change would do."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.terminals import document, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]

LAST = "dry run: nothing was written"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.json").write_text(
        '[{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [true]}]}]'
    )
    Path("conditions.json").write_text(
        '[{"attribute": "plan", "operator": "in", "values": ["free"]}]'
    )


def stored() -> list[Any]:
    models = (FeatureFlag, KeyValueStore, Segment, FeatureFlag.allowed_users.through, Change)
    return [list(model._base_manager.order_by("pk").values()) for model in models]


@pytest.mark.parametrize(
    "line",
    [
        "on summer_banner",
        "off new_checkout",
        "kill new_checkout dark_mode",
        "rollout new_checkout 50",
        "allow new_checkout bob",
        "disallow new_checkout alice",
        "rules search_v2 rules.json",
        "create banner",
        "details dark_mode --description night",
        "delete new_checkout",
        "value set page_size 50",
        "value create rows 5",
        "value delete page_size",
        "segment create free conditions.json",
        "segment details enterprise all",
        "segment delete enterprise",
        "plan create new_checkout",
        "experiment create button",
        "forget-user 1",
        "history --prune --older-than 0",
    ],
)
def test_dry_run_writes_nothing_and_says_so(line: str) -> None:
    before = stored()
    # Without a terminal: it needs no --yes.
    ran = run(f"{line} --dry-run")
    assert (ran.status, ran.err.splitlines()[-1]) == (0, LAST)
    assert "undo: " not in ran.err
    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_dry_run_of_an_undo_writes_nothing() -> None:
    first = flag_version("new_checkout")
    version = changes.flags.set_rollout("new_checkout", 50).version
    before = stored()
    transaction, restore = f"undo-transaction {version}", f"restore new_checkout {first}"
    for line in ("undo new_checkout", transaction, restore):
        ran = run(f"{line} --dry-run")
        assert (ran.status, ran.err.splitlines()[-1]) == (0, LAST)
        assert "rollout 50 → 25 %" in ran.err
    assert stored() == before


def test_every_verb_with_a_reason_has_a_dry_run() -> None:
    parser = load_command_class("flagstaff", "flags").create_parser("manage.py", "flags")
    found = [(name, set(one._option_string_actions)) for name, one in parsers(parser)]
    changing = [(name, options) for name, options in found if "--reason" in options]
    assert [name for name, options in changing if "--dry-run" not in options] == []
    assert {"off", "undo", "set", "create", "roll-back"} <= {name for name, _options in changing}


def parsers(parser: ArgumentParser) -> Iterator[tuple[str, ArgumentParser]]:
    """Yields the parsers of all verbs by name, also below groups."""
    for action in parser._actions:
        if isinstance(action.choices, Mapping):
            for name, one in action.choices.items():
                yield name, one
                yield from parsers(one)


def test_dry_run_prints_old_and_new_and_the_impact() -> None:
    users = "1 user gains the flag. Afterwards 2 of 2 users have it. Everybody who is not logged in"
    assert typed("flags rollout new_checkout 100 --dry-run").splitlines() == [
        "new_checkout: rollout 25 → 100 %",
        "On for all users, and for everybody who is not logged in.",
        f"new_checkout: 25 → 100 %: {users} gains the flag.",
        LAST,
    ]


def test_dry_run_as_json_has_no_version_and_no_undo() -> None:
    found = document("off", "new_checkout", "--dry-run")
    assert found["dry_run"] is True
    assert (found["old"], found["new"], found["changed"]) == (True, False, True)
    assert (found["version"], found["undo"]) == (None, None)
    counts = {"users": 2, "gain": 0, "lose": 1, "on": [1, 0], "changed": 1}
    assert counts.items() <= found["impact"].items()
    several = document("off", "new_checkout", "dark_mode", "--dry-run")
    assert [one["version"] for one in several["changes"]] == [None, None]
    assert (several["undo"], several["dry_run"]) == (None, True)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("off new_chekout", 5),
        ("rollout new_checkout 50 --expect-version 1", 4),
        ("value set page_size null", 4),
        ("create new_checkout --kind ops", 4),
        ("allow new_checkout carol", 1),
        ("segment create enterprise conditions.json", 4),
    ],
)
def test_dry_run_exits_as_the_change_would(line: str, status: int) -> None:
    assert run(f"{line} --dry-run").status == run(line).status == status


def test_dry_run_does_not_wait_and_needs_no_reason(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    monkeypatch.setattr(
        "flagstaff.cli.wait.wait_for_workers", lambda *_, **__: pytest.fail("it waits")
    )
    assert run("off new_checkout --wait --dry-run").status == 0
    assert run("kill new_checkout --dry-run").status == 0
    assert run("on summer_banner").status == 2
