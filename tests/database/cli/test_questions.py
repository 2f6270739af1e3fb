"""`manage.py flags` asks on a terminal before a change that users notice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User

from flagstaff import acting_as, changes
from flagstaff.actions import Kind, action
from flagstaff.history import flag_version
from tests.support.admin_pages import production
from tests.support.conditions import needs
from tests.support.history import newest_entry
from tests.support.plans import rollout
from tests.support.shop import STAFF, Shop
from tests.support.terminals import Ran, Terminal, asked, document, run, typed

# Each command is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]

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
NEW_UNIT = "The new unit reassigns every user at once."
NEW_VALUE = "page_size: The value changes for 2 of 2 users."


@pytest.fixture(autouse=True)
def versions(
    open_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


#: What users notice: the sentence of the question, and the line of the receipt without one.
NOTICED = {
    "on summer_banner": (
        f"summer_banner: {TO_BOTH} Everybody who is not logged in gains",
        "summer_banner: 0 → 2 of 2 users. Everybody who is not logged in",
    ),
    "rollout new_checkout 60": (
        "25 → 60 %: 1 user gains the flag. Afterwards 2 of 2 users",
        "new_checkout: 1 → 2 of 2 users.",
    ),
    "rules search_v2 rules.json": ("1 user gains the flag. Afterwards 1 of 2 users have", ""),
    "unit new_checkout visitor": (NEW_UNIT, ""),
    "allow search_v2 alice bob": (
        f"search_v2: {TO_BOTH} Go on? [y/N]",
        "search_v2: 0 → 2 of 2 users.",
    ),
    "segment conditions team known.json": (
        "team: 1 user gains a flag.",
        "by_team: 1 → 2 of 2 users.",
    ),
    "undo dark_mode": (f"dark_mode: turned on\ndark_mode: {TO_BOTH}", "dark_mode: 0 → 2 of 2"),
    "undo-transaction {after}": (f"dark_mode: {TO_BOTH}", "dark_mode: 0 → 2 of 2 users."),
    "undo-since 1h --by ana": ("gains the flag. Undo 1 change of 1 key? [y/N]", ""),
    "restore dark_mode {before}": (f"dark_mode: turned on\ndark_mode: {TO_BOTH}", ""),
    "import flags.json": (f"summer_banner: {TO_BOTH} Everybody", "summer_banner: 0 → 2 of 2"),
    # So do changes that take a flag or a value from users.
    "rollout half 6": (
        "half: 60 → 6 %: 2 users lose the flag. Afterwards 0 of 2 users",
        "half: 2 → 0 of 2 users.",
    ),
    "undo by_team": ("by_team: 1 of 2 users have the flag.", ""),
    "value set page_size 21": (NEW_VALUE, NEW_VALUE),
}


@pytest.mark.parametrize("line", NOTICED)
def test_change_that_users_notice_asks_first(line: str, versions: dict[str, int | None]) -> None:
    sentence, _receipt = NOTICED[line]
    newest = newest_entry()
    ran = asked(line.format(**versions), "n")
    assert (ran.status, newest_entry()) == (2, newest)
    assert sentence in ran.err
    question, last = ran.err.splitlines()[-2:]
    assert (question[-6:], last) == (" [y/N]", CANCELLED)
    assert asked(line.format(**versions), "y").status == 0
    assert newest_entry() > newest


@pytest.mark.parametrize(
    "line", [line for line, (_sentence, receipt) in NOTICED.items() if receipt]
)
def test_receipt_of_what_was_not_asked_about_says_the_numbers(
    line: str, versions: dict[str, int | None]
) -> None:
    _sentence, receipt = NOTICED[line]
    ran = run(line.format(**versions))
    assert any(text.startswith(receipt) for text in ran.err.splitlines())


@pytest.mark.parametrize("ask", [run, asked])
def test_receipt_of_a_brake_says_what_it_gave_to_others_only(
    ask: Callable[[str], Ran], shop: Shop
) -> None:
    shop.flag("new_menu", rollout_percent=100, rules=[{"conditions": [STAFF]}])
    shop.flag("old_menu", rollout_percent=0, rules=needs("new_menu", is_on=False))
    said = ask("rollout new_menu 0").err
    assert "new_menu: 2 → 1 of 2 users." in said
    assert "old_menu: 0 → 1 of 2 users." in said
    assert " of 2 users" not in ask("rollout half 0").err


@pytest.mark.parametrize(
    "line",
    [
        "rollout summer_banner 50",
        "on search_v2",
        "allow new_checkout bob",
        "rules by_team rules.json",
        # Alice has it already, and the bucket of bob is 51.
        "rollout new_checkout 50",
        "details new_checkout --description One",
        "segment details team One",
        "import one.json",
        "on summer_banner --dry-run",
        "on summer_banner --yes",
        "import flags.json --yes",
        "undo-since 1h --by ana --yes",
    ],
)
def test_change_by_which_nobody_gains_a_flag_or_with_yes_is_not_asked_about(line: str) -> None:
    assert asked(line).status == 0


@pytest.mark.parametrize(
    "line", ["on summer_banner", "rollout new_checkout 60", "import flags.json"]
)
def test_receipt_does_not_repeat_the_numbers_of_the_question(line: str) -> None:
    assert "2 of 2 users." not in asked(line, "y").err.replace("Afterwards 2 of 2 users", "")


@pytest.mark.parametrize(
    "line",
    [
        "on summer_banner",
        "release half",
        "unit half visitor",
        "rollout new_checkout 60",
        "segment conditions team known.json",
        "undo dark_mode",
        "undo-transaction {after}",
        "restore dark_mode {before}",
        "import flags.json",
        "value set page_size 21",
    ],
)
def test_what_reaches_most_users_in_production_needs_yes_without_a_terminal(
    line: str, versions: dict[str, int | None], settings: Any
) -> None:
    line, newest = line.format(**versions), newest_entry()
    production(settings)
    ran = run(line)
    assert (ran.status, newest_entry()) == (2, newest)
    assert ran.err.endswith("CommandError: not a terminal: pass --yes to confirm\n")
    assert " user" in ran.err
    assert run(f"{line} --yes").status == 0


@pytest.mark.parametrize(
    "line",
    [
        "rollout half 6",
        "rules search_v2 rules.json",
        "rollout new_checkout 50",
        "create new --description One",
        "on summer_banner --dry-run",
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
    newest = newest_entry()
    for wrong in ("y", "Summer_banner"):
        ran = asked(line, wrong)
        assert (ran.status, newest_entry()) == (2, newest)
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
    meanwhile: list[int] = []

    def change_and_agree() -> str:
        update = changes.segments.update if key == "team" else changes.flags.update
        update(key, {"description": "One"})
        meanwhile.append(newest_entry())
        return "y"

    ran = asked(line.format(**versions), change_and_agree)
    assert (ran.status, [newest_entry()]) == (4, meanwhile)
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
    assert rollout() == 60


def test_question_adds_up_what_an_undo_does_to_a_flag_in_several_parts() -> None:
    with acting_as("eve"):
        changes.flags.set_rollout("new_checkout", 60)
    changes.flags.update("new_checkout", {"description": "Two"})
    with acting_as("eve"):
        changes.flags.disable("new_checkout")
    err = asked("undo-since 1h --by eve", "n").err
    assert "new_checkout: 1 user gains the flag. Afterwards 1 of 2 users have it. Undo 2" in err


def test_question_with_json_is_on_stderr() -> None:
    ran = asked("on summer_banner --json", "y")
    assert json.loads(ran.out)["new"] == {"enabled": True}
    assert TO_BOTH in ran.err


def test_dry_run_of_a_segment_has_a_line_for_each_flag_that_uses_it() -> None:
    line = "segment conditions team known.json --dry-run"
    assert run(line).err.splitlines()[1:] == [
        "by_team: 1 of 2 → 2 of 2",
        "later: off",
        "team: 1 user gains a flag.",
        "dry run: nothing was written",
    ]
    impact = document(*line.split())["impact"]
    by_team, later = impact["uses"]
    assert (impact["different_users"], by_team["key"]) == (1, "by_team")
    assert by_team["impact"]["on"] == [1, 2]
    assert later == {"kind": "flag", "key": "later", "active": False, "impact": None}
    assert document("segment", "details", "enterprise", "a", "--dry-run")["impact"] is None
