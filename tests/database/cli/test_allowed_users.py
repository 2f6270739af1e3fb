"""`manage.py flags allow`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff._tables.user_lookup import UserTable
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.terminals import document, flags, run

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


def allowed(key: str = "new_checkout") -> list[str]:
    users = FeatureFlag.objects.get(key=key).allowed_users
    return list(users.order_by("username").values_list("username", flat=True))


def test_allow_adds_users_by_primary_key_and_username() -> None:
    ran = run("allow new_checkout 2 alice")
    assert ran.err.splitlines() == [
        "new_checkout: allowed users: +bob",
        "undo: manage.py flags allow new_checkout bob --remove",
        "On for 25 % of all users and 2 allowed users.",
    ]
    assert allowed() == ["alice", "bob"]
    again = run("allow new_checkout 2 alice")
    assert (again.status, again.err.splitlines()[0]) == (
        0,
        "new_checkout: the allowed users are already up to date",
    )


def test_allow_remove_removes_users() -> None:
    assert run("allow beta_reviews alice bob --remove").err.splitlines()[:2] == [
        "beta_reviews: allowed users: -alice, -bob",
        "undo: manage.py flags allow beta_reviews alice bob",
    ]
    assert allowed("beta_reviews") == []


@pytest.mark.parametrize("username", ["1", "-rf", "a\tb"])
def test_user_whose_name_is_not_an_argument_is_shown_by_primary_key(username: str) -> None:
    User.objects.create(pk=7, username=username)
    shown = run("allow new_checkout 7").err.splitlines()
    assert shown[:2] == [
        "new_checkout: allowed users: +7",
        "undo: manage.py flags allow new_checkout 7 --remove",
    ]


def test_undo_of_allow_with_a_username_can_be_run() -> None:
    User.objects.create(pk=7, username="Zoë O'Hara")
    [undo] = [line for line in run("allow new_checkout 7").err.splitlines() if "undo" in line]
    assert undo == """undo: manage.py flags allow new_checkout 'Zoë O'"'"'Hara' --remove"""
    assert run(undo.removeprefix("undo: manage.py flags ")).status == 0
    assert allowed() == ["alice"]


def test_allow_with_json_returns_primary_keys() -> None:
    changed = document("allow", "new_checkout", "bob")
    assert (changed["new"], changed["undo"]) == ([2], ["allow", "new_checkout", "2", "--remove"])


def test_allow_by_a_role_that_may_not_read_usernames_shows_primary_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM no_such_table")

    monkeypatch.setattr(UserTable, "unique_usernames", refuse)
    assert run("allow new_checkout bob").err.startswith("new_checkout: allowed users: +2\n")


@pytest.mark.parametrize(
    "text", ["alice\nbob\n", "id,name\n1,a\n\n2,b\n", '\ufeff"1"\r\n"bob"\r\n']
)
def test_allow_reads_users_from_a_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "beta.csv"
    path.write_text(text, encoding="utf-8", newline="")
    skip = ["--skip-unknown"] if text.startswith("id") else []
    assert flags("allow", "new_checkout", "--file", str(path), *skip).status == 0
    assert allowed() == ["alice", "bob"]


def test_allow_reads_users_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("bob\n"))
    assert run("allow new_checkout --file -").status == 0
    assert allowed() == ["alice", "bob"]


def test_allow_with_unknown_users_names_them_and_writes_nothing() -> None:
    refused = run("allow new_checkout bob carol 77")
    assert (refused.status, allowed()) == (1, ["alice"])
    assert refused.err == (
        "CommandError: no user has the primary key or username 'carol', '77'; "
        "to skip unknown users, pass --skip-unknown\n"
    )
    assert run("allow new_checkout bob carol 77 --skip-unknown").status == 0
    assert allowed() == ["alice", "bob"]


def test_allow_of_a_misspelt_username_names_a_similar_one() -> None:
    assert run("allow new_checkout alcie").err == (
        "CommandError: no user has the primary key or username 'alcie'; to skip unknown users, "
        "pass --skip-unknown; did you mean 'alice'?\n"
    )


def test_allow_without_users_is_an_error(tmp_path: Path) -> None:
    assert run("allow new_checkout") == (
        2,
        "",
        "CommandError: no users: pass USER or --file\n",
    )
    assert run(f"allow new_checkout --file {tmp_path / 'missing'}").status == 1


def test_allow_of_many_users_prints_a_short_undo_command(tmp_path: Path) -> None:
    crowd = User.objects.bulk_create([User(username=f"guest{n}") for n in range(3000)])
    path = tmp_path / "crowd"
    path.write_text("\n".join(user.username for user in crowd))
    printed = run(f"allow new_checkout --file {path}").err.splitlines()
    assert printed[0].endswith(" and 2,990 more")
    assert printed[1] == f"undo: manage.py flags undo new_checkout {flag_version('new_checkout')}"
    assert run(printed[1].removeprefix("undo: manage.py flags ")).status == 0
    assert allowed() == ["alice"]
