"""Allow, deny, create, delete, history, undo and restore, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flagstaff import acting_as
from flagstaff.changes import create_value, set_rollout, set_value, update, update_value
from flagstaff.cli import verbs
from flagstaff.history import flag_history, flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.terminals import Ran, flags, open_shop, typed

# Where each change is a transaction of its own, as it is in life.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    Change.objects.all().delete()
    open_shop()


def run(line: str) -> Ran:
    return flags(*shlex.split(line))


def allowed(key: str = "new_checkout") -> list[str]:
    users = FeatureFlag.objects.get(key=key).allowed_users
    return list(users.order_by("username").values_list("username", flat=True))


# Every verb that writes.

WRITING = {
    "on summer_banner": "summer_banner",
    "off new_checkout": "new_checkout",
    "kill new_checkout": "new_checkout",
    "ramp new_checkout 50": "new_checkout",
    "allow new_checkout bob": "new_checkout",
    "deny new_checkout alice": "new_checkout",
    "delete new_checkout --yes": "new_checkout",
}


@pytest.mark.parametrize(("line", "key"), WRITING.items())
def test_verb_that_writes_takes_who_why_and_over_what(line: str, key: str) -> None:
    version = flag_version(key)
    refused = run(f"{line} --expect-version 1")
    assert refused.status == 4
    assert f"CommandError: refused: {key} has version {version}, not 1; since then:" in refused.err
    assert flag_version(key) == version
    ran = run(f'{line} --expect-version {version} --as bob --reason "ticket 7"')
    assert ran.status == 0, ran.err
    event = flag_history(key)[0]
    assert (event.actor, event.source, event.reason) == ("2", "command", "ticket 7")


def test_name_that_somebody_has_claimed_steers_no_terminal_from_a_refusal() -> None:
    version = flag_version("dark_mode")
    with acting_as("\x1b[2Jbob\nflags: all is well"):
        set_rollout("dark_mode", 3)
    [said] = run(f"ramp dark_mode 5 --expect-version {version}").err.splitlines()
    assert "since then: \ufffd[2Jbob flags: all is well at" in said


@pytest.mark.parametrize(
    ("who", "actor"), [("alice", "1"), ("1", "1"), ("01", "1"), ("deploy", "deploy"), ("77", "77")]
)
def test_actor_is_a_primary_key_where_there_is_such_a_user(who: str, actor: str) -> None:
    run(f"off new_checkout --as {who}")
    assert flag_history("new_checkout")[0].actor == actor


def test_nobody_is_invented() -> None:
    run("off new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.actor, event.source, event.reason) == (None, "command", None)


def test_every_verb_that_writes_is_tried() -> None:
    elsewhere = {"create", "undo", "restore", "forget-user", "value"}
    reading = {"list", "show", "explain", "history", "status"}
    tried = {line.split()[0] for line in WRITING}
    assert tried | elsewhere <= set(verbs.VERBS)
    assert reading <= set(verbs.VERBS)


def test_kill_never_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda: pytest.fail("it asked"))
    assert run("kill new_checkout").status == 0
    assert FeatureFlag.objects.get(key="new_checkout").enabled is False


# Allow and deny.


def test_users_are_allowed_by_primary_key_and_by_name() -> None:
    ran = run("allow new_checkout 2 alice")
    assert ran.err.splitlines() == [
        "new_checkout: allowed_users +2",
        "undo: manage.py flags deny new_checkout 2",
        "25 % of all users have it, and 2 allowed users in any case.",
    ]
    assert allowed() == ["alice", "bob"]
    again = run("allow new_checkout 2 alice")
    assert (again.status, again.err.splitlines()[0]) == (
        0,
        "new_checkout: the allow-list is so already, nothing to do",
    )


def test_users_are_denied() -> None:
    assert run("deny beta_reviews alice bob").err.splitlines()[:2] == [
        "beta_reviews: allowed_users -1, 2",
        "undo: manage.py flags allow beta_reviews 1 2",
    ]
    assert allowed("beta_reviews") == []


@pytest.mark.parametrize(
    "text", ["alice\nbob\n", "id,name\n1,a\n\n2,b\n", '\ufeff"1"\r\n"bob"\r\n']
)
def test_users_are_read_from_a_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "beta.csv"
    path.write_text(text, encoding="utf-8", newline="")
    skip = ["--skip-unknown"] if text.startswith("id") else []
    assert flags("allow", "new_checkout", "--file", str(path), *skip).status == 0
    assert allowed() == ["alice", "bob"]


def test_users_are_read_from_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("bob\n"))
    assert run("allow new_checkout --file -").status == 0
    assert allowed() == ["alice", "bob"]


def test_unknown_users_are_named_and_nobody_is_allowed() -> None:
    refused = run("allow new_checkout bob carol 77")
    assert (refused.status, allowed()) == (1, ["alice"])
    assert refused.err == (
        "CommandError: no user has the primary key or username 'carol', '77'; "
        "--skip-unknown goes on without\n"
    )
    assert run("allow new_checkout bob carol 77 --skip-unknown").status == 0
    assert allowed() == ["alice", "bob"]


def test_nobody_to_allow_is_told(tmp_path: Path) -> None:
    assert run("allow new_checkout") == (
        2,
        "",
        "CommandError: which users? Type some, or give a --file\n",
    )
    assert run(f"allow new_checkout --file {tmp_path / 'missing'}").status == 1


def test_many_users_are_allowed_at_once(tmp_path: Path) -> None:
    crowd = User.objects.bulk_create([User(username=f"guest{n}") for n in range(3000)])
    path = tmp_path / "crowd"
    path.write_text("\n".join(user.username for user in crowd))
    told = run(f"allow new_checkout --file {path}").err.splitlines()
    assert told[0].endswith(" and 2,990 more")
    assert told[1] == f"undo: manage.py flags undo new_checkout {flag_version('new_checkout')}"
    assert run(told[1].removeprefix("undo: manage.py flags ")).status == 0
    assert allowed() == ["alice"]


# Create and delete.


def test_flag_is_created_deleted_and_had_again() -> None:
    told = run('create banner_2 --kind ops --description "Top of the page"').err.splitlines()
    assert told == [
        "banner_2: created",
        'banner_2: description null → "Top of the page"',
        'banner_2: kind null → "ops"',
        "undo: manage.py flags delete banner_2 --yes",
        "Nobody has it: it is off.",
    ]
    assert run('create banner_2 --kind ops --description "Top of the page"').status == 0
    assert run("create banner_2").status == 4
    told = run("delete banner_2 --yes").err.splitlines()
    [undo] = [line for line in told if line.startswith("undo: ")]
    assert run("delete banner_2").err.startswith("banner_2 is deleted already, nothing to do")
    assert run(undo.removeprefix("undo: manage.py flags ")).status == 0
    assert FeatureFlag.objects.get(key="banner_2").kind == "ops"
    run("delete banner_2 --yes")
    assert "there was a flag of this key before" in run("create banner_2").err


@pytest.mark.parametrize("line", ["delete new_checkout", "value unset page_size", "forget-user 1"])
def test_what_cannot_be_typed_back_is_asked_for(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Change.objects.count()
    refused = run(line)
    assert (refused.status, refused.err) == (
        2,
        "CommandError: nobody is there to be asked; say --yes\n",
    )
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: "n")
    assert "CommandError: nothing was changed" in run(line).err
    assert Change.objects.count() == before
    monkeypatch.setattr("builtins.input", lambda: "y")
    assert run(line).status == 0


def test_value_is_created_and_unset() -> None:
    assert run("value create limit 5 --description daily").status == 0
    assert run("value create limit 6").status == 4
    told = run("value unset limit --yes").err
    [undo] = re.findall(r"undo: manage\.py flags (.+)", told)
    assert run(undo).status == 0
    row = KeyValueStore.objects.get(key="limit")
    assert (row.value, row.description) == (5, "daily")


def test_secret_is_told_nowhere() -> None:
    told = [
        run("value create token '\"hunter2\"' --secret"),
        run("value set token '\"hunter3\"' --json"),
        run("history token --value"),
        run("history token --value --json"),
        run("history token --value --csv"),
        run("undo token --value"),
        run("value unset token --yes --json"),
    ]
    assert [ran.status for ran in told] == [0, 0, 0, 0, 0, 4, 0]
    for ran in told:
        assert not re.search("hunter|sha256", ran.out + ran.err)


@pytest.mark.parametrize("back", ["restore token {} --value", "undo token {} --value"])
def test_what_became_secret_later_is_told_nowhere(back: str) -> None:
    run("value create token '\"hunter2\"'")
    change = set_value("token", "hunter3").version
    update_value("token", {"secret": True})
    update_value("token", {"secret": False})
    ran = [run(back.format(change)), run(back.format(change - 1 if change else 0))]
    run("value unset token --yes")
    ran += [run(f"restore token {change} --value"), run(f"restore token {change} --value --json")]
    assert 0 in [one.status for one in ran]
    for one in ran:
        assert "hunter" not in one.out + one.err


# History, undo, restore.


def test_history_tells_what_was_done() -> None:
    run("ramp new_checkout 50 --as alice --reason 'ticket 7'")
    run("allow new_checkout bob")
    lines = [line.split("\t") for line in run("history new_checkout").out.splitlines()]
    assert [line[2:] for line in lines[:2]] == [
        ["new_checkout", "added 1 allowed user", "postgres (database user)", "command", ""],
        ["new_checkout", "rollout_percent 25 → 50", "alice", "command", "ticket 7"],
    ]
    assert "added 1 allowed user (bob)" in run("history new_checkout --users --limit 1").out
    assert "VERSION" in typed("flags history new_checkout")


def test_history_as_documents() -> None:
    run("allow new_checkout bob --as alice")
    [newest, *_] = json.loads(run("history new_checkout --json").out)
    assert (newest["actor"], newest["added"]) == ("1", {"count": 1, "pks": [2]})
    [row, *_] = csv.DictReader(io.StringIO(run("history new_checkout --csv").out))
    assert (row["version"], row["key"]) == (str(newest["version"]), "new_checkout")
    assert len(json.loads(run("history --json --limit 2").out)) == 2
    older = json.loads(run(f"history new_checkout --json --before {newest['version']}").out)
    assert newest not in older


def test_history_of_what_never_was_is_told() -> None:
    assert run("history new_chekout").status == 5
    Change.objects.all().delete()
    assert run("history new_checkout") == (0, "", "nothing is written down\n")


def test_undo_and_restore_are_typed() -> None:
    version = flag_version("new_checkout")
    set_rollout("new_checkout", 50)
    assert run("undo new_checkout").err.splitlines()[0] == "new_checkout: rollout_percent 50 → 25"
    run("deny new_checkout alice")
    run("ramp new_checkout 75")
    told = run(f"restore new_checkout {version}").err.splitlines()
    assert told[:2] == ["new_checkout: rollout_percent 75 → 25", "new_checkout: allowed_users +1"]
    assert run(f"restore new_checkout {version}").err.startswith("new_checkout is so already")
    assert run("undo new_checkout 987654").status == 4
    assert run("restore nothing 1").status == 5


def test_user_who_is_gone_is_named() -> None:
    version = flag_version("beta_reviews")
    User.objects.get(username="bob").delete()
    told = run(f"restore beta_reviews {version}").err
    assert "left out, for they are no users: 2" in told


def test_flag_that_was_renamed_did_not_change_with_itself() -> None:
    change = set_rollout("new_checkout", 50).version
    update("new_checkout", {"key": "checkout"})
    assert "changed with it" not in run(f"undo checkout {change}").err


@pytest.mark.parametrize("old", ["-5", "-0.5", "-1e-05"])
def test_undo_of_a_negative_number_can_be_typed(old: str) -> None:
    create_value("limit", json.loads(old))
    [undo] = [line for line in run("value set limit 5").err.splitlines() if line.startswith("undo")]
    assert run(undo.partition("flags ")[2]).status == 0
    assert KeyValueStore.objects.get(key="limit").value == float(old)


def test_undo_of_a_value_is_typed() -> None:
    run("value set page_size 50")
    assert run("undo page_size --value").err.splitlines()[0] == "page_size: value 50 → 20"
    assert KeyValueStore.objects.get(key="page_size").value == 20


# What leaves the history.


def test_old_history_is_pruned() -> None:
    set_rollout("new_checkout", 50)
    Change.objects.update(at=timezone.now() - timedelta(days=100))
    count = Change.objects.count()
    assert run("history --prune --older-than 365 --yes").err == "deleted 0 entries of the history\n"
    run("history --prune --older-than 90d --yes")
    assert 0 < Change.objects.count() < count
    for line in ("history --prune --yes", "history new_checkout --prune --older-than 9 --yes"):
        assert run(line).status == 2


@pytest.mark.parametrize("typed", ["1", "01"])
def test_user_is_forgotten(typed: str) -> None:
    run("off new_checkout --as alice")
    User.objects.get(username="alice").delete()
    assert "none does now" in run(f"forget-user {typed} --yes").err
    told: list[Any] = list(Change.objects.values_list("actor", flat=True))
    assert "1" not in told
