"""`manage.py flags` asks on a terminal before a change gives a flag to users."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User

from flagstaff import acting_as, changes
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, Segment
from tests.support.admin_pages import production
from tests.support.terminals import Terminal, asked, document, run, typed

# Each command is a transaction of its own, as in production.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("plain_terminal"),
]

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
KNOWN = {**STAFF, "attribute": "is_authenticated"}
TEAM = [{"conditions": [{"segment": "team"}]}]
CANCELLED = "cancelled; nothing was changed"
TO_BOTH = "2 users gain the flag. Afterwards 2 of 2 users have it."


@pytest.fixture(autouse=True)
def versions(
    cli_shop: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int | None]:
    """Bob is the staff, and ana turns a flag off. Returns the versions before and after."""
    monkeypatch.chdir(tmp_path)
    Path("rules.json").write_text(json.dumps([{"conditions": [STAFF]}]))
    Path("known.json").write_text(json.dumps([KNOWN]))
    User.objects.filter(username="bob").update(is_staff=True)
    changes.segments.create("team", [STAFF])
    changes.flags.create("by_team", enabled=True, rules=TEAM)
    changes.flags.create("later", rules=TEAM)
    changes.flags.create("half", enabled=True, rollout_percent=60)
    changes.flags.create("gone", enabled=True, rollout_percent=100)
    changes.flags.delete("gone")
    before = flag_version("dark_mode")
    with acting_as("ana"):
        return {"before": before, "after": changes.flags.disable("dark_mode").version}


def stored() -> list[Any]:
    models = (FeatureFlag, Segment, FeatureFlag.allowed_users.through, Change)
    return [list(model._base_manager.order_by("pk").values()) for model in models]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("on summer_banner", f"summer_banner: {TO_BOTH} Everybody who is not logged in gains"),
        ("rollout new_checkout 60", "25 → 60 %: 1 user gains the flag. Afterwards 2 of 2 users"),
        ("rules search_v2 rules.json", "1 user gains the flag. Afterwards 1 of 2 users have"),
        (
            "unit new_checkout visitor",
            "The new unit reassigns every user at once.",
        ),
        ("allow search_v2 alice bob", f"search_v2: {TO_BOTH} Go on? [y/N]"),
        ("segment conditions team known.json", "team: 1 user gains or loses something."),
        ("undo dark_mode", f"dark_mode: turned on\ndark_mode: {TO_BOTH}"),
        ("undo gone", "gone: 2 users gain the flag. Afterwards 2 of 2 users have it."),
        ("undo-transaction {after}", f"dark_mode: {TO_BOTH}"),
        ("undo-since 1h --by ana", "gains the flag. Undo 1 change of 1 key? [y/N]"),
        ("restore dark_mode {before}", f"dark_mode: turned on\ndark_mode: {TO_BOTH}"),
        # So do changes that take a flag or a value from users.
        ("rollout half 6", "half: 60 → 6 %: 2 users lose the flag. Afterwards 0 of 2 users"),
        ("undo by_team", "by_team: 1 user loses the flag. Afterwards 0 of 2 users have it."),
        ("value set page_size 21", "page_size: The value changes for 2 of 2 users."),
    ],
)
def test_change_that_users_notice_asks_first(
    line: str, sentence: str, versions: dict[str, int | None]
) -> None:
    line, before = line.format(**versions), stored()
    ran = asked(line, "n")
    assert (ran.status, stored()) == (2, before)
    assert sentence in ran.err
    question, last = ran.err.splitlines()[-2:]
    assert (question[-6:], last) == (" [y/N]", CANCELLED)
    assert asked(line, "y").status == 0
    assert stored() != before


@pytest.mark.parametrize(
    "line",
    [
        "off new_checkout",
        "kill by_team",
        "rollout new_checkout 0",
        "rollout summer_banner 50",
        "on search_v2",
        "on new_checkout",
        "allow new_checkout bob",
        "rules by_team rules.json",
        "details new_checkout --description One",
        "segment details team One",
        "on summer_banner --dry-run",
        "on summer_banner --yes",
        "undo-since 1h --by ana --yes",
    ],
)
def test_change_by_which_nobody_gains_a_flag_or_with_yes_is_not_asked_about(line: str) -> None:
    assert asked(line).status in {0, 3, 7}


def test_release_without_a_person_at_the_terminal_is_not_asked_about() -> None:
    with patch("sys.stdin", Terminal()):
        # The messages go to a file.
        assert run("on summer_banner").status == 0
        # Code calls the command.
        assert typed("flags on dark_mode").startswith("dark_mode: turned on")
    with patch("flagstaff.cli.asking.is_terminal", lambda: False):
        # The input is a pipe.
        assert asked("rollout new_checkout 100").status == 0


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("on summer_banner", "summer_banner"),
        ("on summer_banner new_checkout", "summer_banner"),
        ("on summer_banner dark_mode", "Production (EU)"),
        ("segment conditions team known.json", "team"),
        ("undo-since 1h --by ana", "dark_mode"),
    ],
)
def test_release_to_most_users_in_production_is_typed(line: str, text: str, settings: Any) -> None:
    production(settings, "Production (EU)")
    before = stored()
    for wrong in ("y", "Summer_banner"):
        ran = asked(line, wrong)
        assert (ran.status, stored()) == (2, before)
        assert f"not confirmed: type {text} exactly; nothing was changed" in ran.err
    assert asked(line, "").err.splitlines()[-2:][1] == CANCELLED
    assert asked(line, f" {text} ").status == 0
    # One of two users is not most.
    assert asked("rules search_v2 rules.json", "y").status == 0


def change_and_agree(change: Callable[[], object]) -> Callable[[], str]:
    def answer() -> str:
        change()
        return "y"

    return answer


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("on summer_banner", "summer_banner"),
        ("on summer_banner search_v2", "summer_banner"),
        ("undo dark_mode", "dark_mode"),
        ("undo-since 1h --by ana", "dark_mode"),
        ("undo-transaction {after}", "dark_mode"),
    ],
)
def test_change_after_the_question_refuses_the_write(
    line: str, key: str, versions: dict[str, int | None]
) -> None:
    widen = change_and_agree(lambda: changes.flags.update(key, {"rollout_percent": 99}))
    ran = asked(line.format(**versions), widen)
    assert (ran.status, FeatureFlag.objects.get(key=key).enabled) == (4, False)
    assert f"refused: {key} has version" in ran.err
    is_of_many = line.startswith("undo-")
    advice = "read it again" if is_of_many else "run the command again"
    assert ran.err.endswith(f"; {advice}\n")


def test_segment_that_is_changed_after_the_question_refuses_the_write() -> None:
    other = change_and_agree(lambda: changes.segments.update("team", {"description": "One"}))
    assert asked("segment conditions team known.json", other).status == 4
    assert Segment.objects.get(key="team").conditions == [STAFF]


@pytest.mark.parametrize(
    ("flags", "options", "question"),
    [
        ({"search_v2": {"description": "One"}}, "", ""),
        ({"summer_banner": {"enabled": True}}, "", f"summer_banner: {TO_BOTH} Everybody"),
        ({"search_v2": {}}, "--delete-missing", "dark_mode: 2 users lose the flag."),
    ],
)
def test_import_that_users_notice_asks_first(
    flags: dict[str, Any], options: str, question: str, settings: Any
) -> None:
    changes.flags.enable("dark_mode")
    production(settings, "Production (EU)")
    Path("flags.json").write_text(json.dumps({"flagstaff": 1, "flags": flags}))
    before, line = stored(), f"import flags.json {options}"
    if question:
        ran = asked(line, "n")
        assert question in ran.err
        assert (ran.status, stored()) == (2, before)
    # Scripts are not asked, except before deletions.
    line += " --yes" if options else ""
    assert run(line).status == 0
    assert stored() != before


def test_several_flags_that_cannot_be_counted_in_time_are_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flagstaff.changes.impact.monotonic", iter([0, 0, *[2] * 9]).__next__)
    err = asked("on summer_banner dark_mode", "n").err
    assert err.count("The users cannot be counted. Everybody") == 2


def test_question_adds_up_what_an_undo_does_to_a_flag_in_several_parts() -> None:
    with acting_as("eve"):
        changes.flags.set_rollout("new_checkout", 60)
    changes.flags.update("new_checkout", {"description": "Two"})
    with acting_as("eve"):
        changes.flags.disable("new_checkout")
    err = asked("undo-since 1h --by eve", "n").err
    assert "60 → 25 %: 1 user gains the flag. Afterwards 1 of 2 users have it. Undo 2" in err


def test_question_with_json_is_on_stderr() -> None:
    ran = asked("on summer_banner --json", "y")
    assert json.loads(ran.out)["new"] is True
    assert TO_BOTH in ran.err


def test_dry_run_of_a_segment_has_a_line_for_each_flag_that_uses_it() -> None:
    line = "segment conditions team known.json --dry-run"
    assert run(line).err.splitlines()[1:] == [
        "by_team: 1 of 2 → 2 of 2",
        "later: off",
        "team: 1 user gains or loses something.",
        "dry run: nothing was written",
    ]
    impact = document(*line.split())["impact"]
    counts = {"users": 2, "gain": 1, "lose": 0, "on": [1, 2], "changed": 1}
    by_team = {"kind": "flag", "key": "by_team", "active": True}
    later = {"kind": "flag", "key": "later", "active": False, "impact": None}
    first, second = impact["uses"]
    assert counts.items() <= first.pop("impact").items()
    assert (impact["different_users"], first, second) == (1, by_team, later)
    unused = document("segment", "details", "enterprise", "a", "--dry-run")
    assert unused["impact"] is None
