"""`manage.py flags explain` and `test`."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from flagstaff import explain, flag_enabled
from flagstaff._engine.forced_off import NOTICE
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine, override_flag
from tests.forced_off import forced_off
from tests.terminals import document, flags, rows, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]


KEYS = ["beta_reviews", "dark_mode", "new_checkout", "search_v2", "summer_banner"]


@pytest.mark.parametrize("key", KEYS)
def test_explain_agrees_with_flag_enabled(key: str) -> None:
    for user in (None, *range(1, 20)):
        found = document("explain", key, "--anonymous" if user is None else str(user))
        explanation = explain(key, user)
        assert found["value"] is flag_enabled(key, user)
        assert (found["reason"], found["bucket"]) == (explanation.reason, explanation.bucket)
        # Steps above the deciding one were checked, steps below it were not.
        reached = [step["decides"] for step in found["steps"] if step["met"] is not None]
        assert reached == [False] * (len(reached) - 1) + [True]


@pytest.mark.parametrize(
    ("key", "user", "value", "decides"),
    [
        ("summer_banner", "alice", False, "enabled"),
        ("new_checkout", "alice", True, "allowed"),
        ("dark_mode", "bob", True, "100 %"),
        ("new_checkout", "--anonymous", False, "user"),
        ("new_checkout", "bob", False, "bucket < rollout"),
        ("new_checkout", "3", True, "bucket < rollout"),
    ],
)
def test_explain_marks_the_deciding_step(key: str, user: str, value: bool, decides: str) -> None:
    found = document("explain", key, user)
    assert found["value"] is value
    assert [step["name"] for step in found["steps"] if step["decides"]] == [decides]
    [marked] = [line for line in typed(f"flags explain {key} {user}").splitlines() if "▸" in line]
    assert marked.startswith(f"▸  {decides} ")


def test_explain_finds_users_by_primary_key_before_username() -> None:
    User.objects.create(pk=42, username="1")
    User.objects.create(pk=43, username="77")
    assert document("explain", "dark_mode", "1")["user"] == {
        "pk": 1,
        "name": "alice",
        "by": "primary key",
    }
    by_name = {"pk": 43, "name": "77", "by": "username"}
    assert document("explain", "dark_mode", "77")["user"] == by_name


def test_explain_of_an_unused_primary_key_prints_a_note() -> None:
    status, out, err = flags("explain", "new_checkout", "3")
    assert status == 0
    assert out.startswith("result\tnew_checkout is on for user 3.\n")
    assert err == ("no user has the primary key 3; showing the result for primary key 3 anyway\n")


def test_explain_of_an_unknown_username_is_an_error() -> None:
    message = "CommandError: no user has the primary key or username 'carol'\n"
    assert flags("explain", "new_checkout", "carol") == (1, "", message)


def test_explain_of_an_overridden_flag_names_the_override() -> None:
    with override_flag("summer_banner", True):
        found = document("explain", "summer_banner", "alice")
    assert found["value"] is True
    assert [step["why"] for step in found["steps"]] == ["overridden by a test"]


@pytest.mark.django_db(transaction=True)
def test_explain_reads_the_database_of_the_open_transaction() -> None:
    with live_engine(), transaction.atomic():
        FeatureFlag.objects.filter(key="new_checkout").update(rollout_percent=100)
        assert document("explain", "new_checkout", "bob")["value"] is True
        # The memory of this process changes after the commit.
        assert flag_enabled("new_checkout", 2) is False


def test_test_prints_result_and_reason_for_each_user() -> None:
    assert rows("test", "new_checkout", "alice", "2", "42") == [
        ["alice", "on", "TARGETING_MATCH", "the user is an allowed user"],
        ["2", "off", "SPLIT", "51 is not below 25"],
        ["42", "off", "SPLIT", "33 is not below 25"],
    ]


def test_test_as_json_has_user_and_bucket() -> None:
    [found] = json.loads(flags("test", "new_checkout", "bob", "--json").out)
    assert (found["user"]["pk"], found["bucket"], found["value"]) == (2, 51, False)


@pytest.mark.parametrize(
    ("users", "expected", "status"),
    [("alice", "on", 0), ("bob", "off", 0), ("alice", "off", 1), ("bob", "on", 1)],
)
def test_test_with_expect_fails_for_another_result(users: str, expected: str, status: int) -> None:
    assert flags("test", "new_checkout", users, "--expect", expected).status == status


def test_test_with_expect_names_users_with_another_result() -> None:
    ran = flags("test", "new_checkout", "alice", "bob", "--expect", "on")
    assert "not on for 1 of 2 users: bob" in ran.err
    assert len(ran.out.splitlines()) == 2


def test_test_of_unknown_flags_and_users_fails() -> None:
    assert flags("test", "new_chekout", "alice").status == 5
    assert flags("test", "new_checkout", "unknown_name").status == 1


def test_explain_of_a_forced_off_flag_names_the_environment() -> None:
    with forced_off(["dark_mode"]):
        found = document("explain", "dark_mode", "alice")
        shown = typed("flags explain dark_mode alice")
    assert (found["value"], found["override"]) == (False, "FLAGSTAFF_FORCE_OFF")
    assert shown.splitlines() == [
        "dark_mode is off for all users.",
        "",
        "   STEP",
        f"▸  override  yes  {NOTICE}",
    ]


def test_test_of_a_forced_off_flag_names_the_environment() -> None:
    with forced_off(["dark_mode"]):
        assert rows("test", "dark_mode", "alice", "2") == [
            ["alice", "off", "DISABLED", NOTICE],
            ["2", "off", "DISABLED", NOTICE],
        ]
