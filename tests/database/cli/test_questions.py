"""`manage.py flags` asks on a terminal before a change that users notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User

from flagstaff import acting_as, changes
from flagstaff.actions import Kind, action
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
FILES: dict[str, Any] = {
    "rules.json": [{"conditions": [STAFF]}],
    "known.json": [KNOWN],
    "flags.json": {"flagstaff": 1, "flags": {"summer_banner": {"enabled": True}}},
    "one.json": {"flagstaff": 1, "flags": {"search_v2": {"description": "One"}}},
}
CANCELLED = "CommandError: cancelled; nothing was changed"
TO_BOTH = "2 users gain the flag. Afterwards 2 of 2 users have it."


@pytest.fixture(autouse=True)
def versions(
    open_shop: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int | None]:
    """Bob is the staff, and ana turns a flag off. Returns the versions before and after."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(json.dumps(content))
    User.objects.filter(username="bob").update(is_staff=True)
    changes.segments.create("team", [STAFF])
    changes.flags.create("by_team", enabled=True, rules=TEAM)
    changes.flags.create("later", rules=TEAM)
    changes.flags.create("half", enabled=True, rollout_percent=60)
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
        ("unit new_checkout visitor", "The new unit reassigns every user at once."),
        ("allow search_v2 alice bob", f"search_v2: {TO_BOTH} Go on? [y/N]"),
        ("segment conditions team known.json", "team: 1 user gains something."),
        ("undo dark_mode", f"dark_mode: turned on\ndark_mode: {TO_BOTH}"),
        ("undo-transaction {after}", f"dark_mode: {TO_BOTH}"),
        ("undo-since 1h --by ana", "gains the flag. Undo 1 change of 1 key? [y/N]"),
        ("restore dark_mode {before}", f"dark_mode: turned on\ndark_mode: {TO_BOTH}"),
        ("import flags.json", f"summer_banner: {TO_BOTH} Everybody"),
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
        *("off new_checkout", "kill by_team", "rollout new_checkout 0", "rollout summer_banner 50"),
        *("on search_v2", "allow new_checkout bob", "rules by_team rules.json"),
        # Alice has it already, and the bucket of bob is 51.
        "rollout new_checkout 50",
        *("details new_checkout --description One", "segment details team One", "import one.json"),
        *("on summer_banner --dry-run", "on summer_banner --yes", "import flags.json --yes"),
        "undo-since 1h --by ana --yes",
    ],
)
def test_change_by_which_nobody_gains_a_flag_or_with_yes_is_not_asked_about(line: str) -> None:
    assert asked(line).status == 0


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("on summer_banner", "summer_banner: 0 → 2 of 2 users. Everybody who is not logged in"),
        ("rollout new_checkout 60", "new_checkout: 1 → 2 of 2 users."),
        ("rollout half 6", "half: 2 → 0 of 2 users."),
        ("allow search_v2 alice", "search_v2: 0 → 1 of 2 users."),
        ("segment conditions team known.json", "by_team: 1 → 2 of 2 users."),
        ("value set page_size 21", "page_size: The value changes for 2 of 2 users."),
        ("undo dark_mode", "dark_mode: 0 → 2 of 2 users."),
        ("undo-transaction {after}", "dark_mode: 0 → 2 of 2 users."),
        ("import flags.json", "summer_banner: 0 → 2 of 2 users. Everybody"),
    ],
)
def test_receipt_of_what_was_not_asked_about_says_the_numbers(
    line: str, numbers: str, versions: dict[str, int | None]
) -> None:
    ran = run(line.format(**versions))
    assert any(text.startswith(numbers) for text in ran.err.splitlines())


@pytest.mark.parametrize(
    "line", ["on summer_banner", "rollout new_checkout 60", "import flags.json"]
)
def test_receipt_does_not_repeat_the_numbers_of_the_question(line: str) -> None:
    assert "2 of 2 users." not in asked(line, "y").err.replace("Afterwards 2 of 2 users", "")


@pytest.mark.parametrize("line", ["kill half", "off half", "rollout half 0"])
def test_what_never_waits_counts_no_users(line: str) -> None:
    with patch("flagstaff.changes.impact.impact", side_effect=AssertionError):
        assert run(line).status == 0


@pytest.mark.parametrize(
    "line",
    [
        *("on summer_banner", "release half", "unit half visitor", "rollout new_checkout 60"),
        *("segment conditions team known.json", "undo dark_mode", "undo-transaction {after}"),
        *("restore dark_mode {before}", "import flags.json", "value set page_size 21"),
    ],
)
def test_what_reaches_most_users_in_production_needs_yes_without_a_terminal(
    line: str, versions: dict[str, int | None], settings: Any
) -> None:
    line, before = line.format(**versions), stored()
    production(settings)
    ran = run(line)
    assert (ran.status, stored()) == (2, before)
    assert ran.err.endswith("CommandError: not a terminal: pass --yes to confirm\n")
    assert " user" in ran.err
    assert run(f"{line} --yes").status == 0


@pytest.mark.parametrize(
    "line",
    [
        *(
            "kill half",
            "off half",
            "rollout half 0",
            "rollout half 6",
            "rules search_v2 rules.json",
        ),
        *("rollout new_checkout 50", "create new --description One", "on summer_banner --dry-run"),
    ],
)
def test_what_does_not_reach_most_users_needs_no_yes_in_production(
    line: str, settings: Any
) -> None:
    production(settings)
    assert run(line).status == 0


def test_release_without_a_person_at_the_terminal_is_not_asked_about() -> None:
    with patch("sys.stdin", Terminal()):
        # The messages go to a file.
        assert run("on summer_banner").status == 0
        # Code calls the command.
        assert typed("flags on dark_mode").startswith("dark_mode: turned on")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("on summer_banner", "summer_banner"),
        ("on summer_banner new_checkout", "summer_banner"),
        ("on summer_banner dark_mode", "Production (EU)"),
        ("segment conditions team known.json", "team"),
        ("undo-since 1h --by ana", "dark_mode"),
        ("import flags.json", "summer_banner"),
    ],
)
def test_release_to_most_users_in_production_is_typed(line: str, text: str, settings: Any) -> None:
    production(settings, "Production (EU)")
    before = stored()
    for wrong in ("y", "Summer_banner"):
        ran = asked(line, wrong)
        assert (ran.status, stored()) == (2, before)
        assert f"not confirmed: type {text} exactly; nothing was changed" in ran.err
    assert asked(line, "").err.endswith(f"{CANCELLED}\n")
    assert asked(line, f" {text} ").status == 0
    # One of two users is not most.
    assert asked("rules search_v2 rules.json", "y").status == 0


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("on summer_banner", "summer_banner"),
        ("on summer_banner search_v2", "summer_banner"),
        ("segment conditions team known.json", "team"),
        ("undo dark_mode", "dark_mode"),
        ("undo-since 1h --by ana", "dark_mode"),
        ("undo-transaction {after}", "dark_mode"),
    ],
)
def test_change_after_the_question_refuses_the_write(
    line: str, key: str, versions: dict[str, int | None]
) -> None:
    meanwhile: list[Any] = []

    def change_and_agree() -> str:
        update = changes.segments.update if key == "team" else changes.flags.update
        update(key, {"description": "One"})
        meanwhile.extend(stored())
        return "y"

    ran = asked(line.format(**versions), change_and_agree)
    assert (ran.status, stored()) == (4, meanwhile)
    assert f"refused: {key} has version" in ran.err


def test_action_that_takes_no_version_is_written_after_the_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @action(Kind.FLAG, "widen new_checkout")
    def widen(key: str) -> changes.Changed:
        """Widen a flag."""
        return changes.flags.set_rollout(key, 60)

    monkeypatch.setattr("flagstaff.cli.main.all_actions", lambda _kind: [widen])
    assert asked("widen new_checkout", "y").status == 0
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 60


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
    assert json.loads(ran.out)["new"] == {"enabled": True}
    assert TO_BOTH in ran.err


def test_dry_run_of_a_segment_has_a_line_for_each_flag_that_uses_it() -> None:
    line = "segment conditions team known.json --dry-run"
    assert run(line).err.splitlines()[1:] == [
        *("by_team: 1 of 2 → 2 of 2", "later: off", "team: 1 user gains something."),
        "dry run: nothing was written",
    ]
    impact = document(*line.split())["impact"]
    [by_team, later] = impact["uses"]
    assert (impact["different_users"], by_team["key"], by_team["impact"]["on"]) == (
        *(1, "by_team"),
        [1, 2],
    )
    assert later == {"kind": "flag", "key": "later", "active": False, "impact": None}
    assert document("segment", "details", "enterprise", "a", "--dry-run")["impact"] is None
