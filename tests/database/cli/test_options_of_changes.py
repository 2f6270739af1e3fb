"""The options of every verb that writes: actor, reason, version, confirmation and --dry-run.

tests/database/actions runs each action with an actor, a reason, a version and --dry-run.
"""

import getpass
import os
import platform
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from flagstaff import acting_as, changes
from flagstaff.history import flag_version
from flagstaff.models import Change
from flagstaff.rollouts import plans
from tests.support.history import flag_history, newest_entry
from tests.support.terminals import asked, document, refused, run, typed

# Each command is a transaction of its own.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("open_shop", "plain_terminal"),
]

DRY = "dry run: nothing was written"


@pytest.mark.parametrize(
    ("options", "actor"),
    [
        ("", None),
        *[("--as alice", "1"), ("--as 1", "1"), ("--as 01", "1")],
        ("--as-name 'deploy 42'", "deploy 42"),
    ],
)
def test_change_has_the_given_actor_and_the_command_as_its_source(
    options: str, actor: str | None
) -> None:
    run(f"off new_checkout {options}")
    event = flag_history("new_checkout")[0]
    source = "command" if actor else f"command ({getpass.getuser()}@{platform.node()})"
    assert (event.actor, event.source, event.reason) == (actor, source, None)


@pytest.mark.parametrize(
    ("variable", "user", "source"),
    [
        ("LOGNAME", "ana", "command (ana@web-1)"),
        ("SUDO_USER", "bea", "command (bea@web-1)"),
        ("SUDO_USER", "J\udcfcrg", "command (J\ufffdrg@web-1)"),
        ("SUDO_USER", "a" * 300, f"command ({'a' * 100}@web-1)"),
        ("SUDO_USER", "", f"command ({os.getuid()}@web-1)"),
    ],
)
def test_source_has_the_system_user_and_the_host_without_an_actor(
    variable: str, user: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_no_name(*_arguments: object) -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("platform.node", lambda: "web-1")
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv(variable, user)
    if not user:
        monkeypatch.setattr("getpass.getuser", has_no_name)
    run("off new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.actor, event.source) == (None, source)


def test_required_actor_holds_for_changes_and_not_for_what_never_waits(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_ACTOR": True}
    for line in ("on summer_banner", "undo new_checkout", "value set page_size 5"):
        refused(line, 2, "by the setting REQUIRE_ACTOR: pass --as USER, or --as-name NAME")
    for line in ("on summer_banner --as-name deploy", "kill new_checkout", "rollout dark_mode 0"):
        assert run(line).status == 0, line


def test_version_that_is_not_expected_is_refused_with_the_newer_changes() -> None:
    version = flag_version("dark_mode")
    with acting_as("\x1b[2Jbob\nflags: all is well"):
        changes.flags.set_rollout("dark_mode", 3)
    ran = run(f"rollout dark_mode 5 --expect-version {version}")
    assert ran.status == 4
    # The name of an actor is anything.
    [message] = ran.err.splitlines()
    assert message.startswith("CommandError: refused: dark_mode has version ")
    assert f"changes after version {version}: \ufffd[2Jbob flags: all is well at" in message


@pytest.mark.parametrize(
    "line",
    [
        "delete new_checkout dark_mode",
        "value delete page_size",
        "segment delete enterprise",
        "forget-user 1",
    ],
)
def test_verb_that_deletes_asks_once_and_needs_yes_without_a_terminal(line: str) -> None:
    def control_d() -> str:
        raise EOFError

    newest = newest_entry()
    refused = run(line)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.endswith("CommandError: not a terminal: pass --yes to confirm\n")
    for answer in ("n", "y n", control_d):
        ran = asked(line, answer)
        assert ran.status == 2
        assert ran.err.endswith("[y/N]\nCommandError: cancelled; nothing was changed\n")
    assert newest_entry() == newest
    assert asked(line, "yes").status == run(f"{line} --yes").status == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("value delete page_size", "not a terminal: pass --yes to confirm"),
        *[
            (line, "standard input is closed: redirect a file to it")
            for line in ("value set page_size -", "allow new_checkout --file -", "import -")
        ],
    ],
)
@pytest.mark.parametrize("is_missing", [True, False], ids=["missing", "closed"])
def test_closed_standard_input_is_an_error_in_one_line(
    line: str, message: str, is_missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = StringIO()
    stdin.close()
    monkeypatch.setattr("sys.stdin", None if is_missing else stdin)
    assert run(line) == (2, "", f"CommandError: {message}\n")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        # Also of an undo, the impact follows the change.
        ("undo-transaction {version}", "rollout 50 → 25 %\nnew_checkout: 50 → 25 %: No user"),
        ("forget-user 1", ""),
    ],
)
def test_dry_run_writes_nothing_and_needs_no_confirmation(line: str, shown: str) -> None:
    version = changes.flags.set_rollout("new_checkout", 50).version
    history = [*Change.objects.order_by("id").values()]
    ran = run(f"{line.format(version=version)} --dry-run")
    assert (ran.status, ran.err.splitlines()[-1]) == (0, DRY)
    assert shown in ran.err
    assert "undo: " not in ran.err
    assert [*Change.objects.order_by("id").values()] == history


def test_dry_run_prints_old_and_new_and_the_impact() -> None:
    users = "1 user gains the flag. Afterwards 2 of 2 users have it. Everybody who is not logged in"
    assert typed("flags rollout new_checkout 100 --dry-run").splitlines() == [
        "new_checkout: rollout 25 → 100 %",
        "On for all users, and for everybody who is not logged in.",
        f"new_checkout: 25 → 100 %: {users} gains the flag.",
        DRY,
    ]


def test_json_has_old_and_new_and_after_a_dry_run_the_impact_and_no_version_and_no_undo() -> None:
    old, new = {"rollout_percent": 25}, {"rollout_percent": 50}
    left_out: dict[str, list[str]] = {"skipped_users": [], "left_out": [], "waiting": []}
    rollout = {"key": "new_checkout", "old": old, "new": new, "changed": True, **left_out}
    printed = document("rollout", "new_checkout", "50", "--dry-run")
    counts = {"users": 2, "gain": 0, "lose": 0, "on": [1, 1], "changed": 0}
    assert counts.items() <= printed.pop("impact").items()
    assert printed == {**rollout, "version": None, "undo": None, "dry_run": True}
    printed = document("rollout", "new_checkout", "50")
    version = flag_version("new_checkout")
    rollout["version"] = version
    assert printed == {**rollout, "undo": ["undo", "new_checkout", str(version)]}
    again = document("rollout", "new_checkout", "50")
    assert again == {**rollout, "old": new, "changed": False, "undo": None}
    several = document("off", "new_checkout", "dark_mode", "--dry-run")
    assert [change["version"] for change in several["changes"]] == [None, None]
    assert (several["undo"], several["dry_run"]) == (None, True)


def test_required_reason_holds_for_changes_and_no_dry_run_and_a_wrong_setting_for_no_kill(
    settings: Any, tmp_path: Path
) -> None:
    path = tmp_path / "flags.json"
    run(f"export --file {path}")
    changes.flags.set_rollout("new_checkout", 50)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    for line in ("on summer_banner", "undo new_checkout", f"import {path}"):
        refused(f"{line} --reason ' '", 2, "by the setting REQUIRE_REASON: pass --reason")
        # An import has a status of its own for differences.
        assert run(f"{line} --dry-run").status in {0, 6}
    assert run("on summer_banner --reason launch").status == 0
    for line in ("list", "show new_checkout", "history new_checkout", "run-jobs"):
        assert run(line).status == 0, line
    # The events of a plan, which would have the reason, are deleted with it.
    plans.create("new_checkout")
    assert run("plan delete new_checkout --yes").status == 0
    # A setting that cannot be read stops no kill.
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": "yes"}
    assert run("kill new_checkout").status == 0
