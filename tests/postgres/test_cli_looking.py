"""The verbs that look: what users get, and who is connected."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from flagstaff.models import FeatureFlag
from tests.fake_workers import Join, join
from tests.terminals import flags, open_shop

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]


@pytest.fixture(autouse=True)
def shop() -> None:
    open_shop()


# test


def rows(*arguments: str) -> list[list[str]]:
    return [line.split("\t") for line in flags(*arguments).out.splitlines()]


def test_test_tells_what_each_user_gets_and_why() -> None:
    assert rows("test", "new_checkout", "alice", "2", "42") == [
        ["alice", "on", "TARGETING_MATCH", "the allow-list names the user"],
        ["2", "off", "SPLIT", "51 is not below 25"],
        ["42", "off", "SPLIT", "33 is not below 25"],
    ]


def test_test_in_json_names_the_user_and_the_bucket() -> None:
    [found] = json.loads(flags("test", "new_checkout", "bob", "--json").out)
    assert (found["user"]["pk"], found["bucket"], found["value"]) == (2, 51, False)


@pytest.mark.parametrize(
    ("users", "expected", "status"),
    [("alice", "on", 0), ("bob", "off", 0), ("alice", "off", 1), ("bob", "on", 1)],
)
def test_test_ends_with_the_status_that_says_whether_it_is_so(
    users: str, expected: str, status: int
) -> None:
    assert flags("test", "new_checkout", users, "--expect", expected).status == status


def test_test_names_those_who_get_something_else() -> None:
    ran = flags("test", "new_checkout", "alice", "bob", "--expect", "on")
    assert "not on for 1 of 2 users: bob" in ran.err
    assert len(ran.out.splitlines()) == 2


def test_test_of_what_is_not_there_has_the_status_of_that() -> None:
    assert flags("test", "new_chekout", "alice").status == 5
    assert flags("test", "new_checkout", "nobody_of_this_name").status == 1


# workers


def test_workers_are_listed_with_those_first_that_are_behind(join: Join) -> None:
    slow, quick, polling = join("web-2"), join("web-1"), join("job-1", mode="P")
    FeatureFlag.objects.update(enabled=False)
    quick.load()
    polling.load()
    found = {row[0]: row[4] for row in rows("workers")}
    assert found == {"web-2": "true", "web-1": "false", "job-1": "false"}
    assert next(iter(found)) == "web-2"
    slow.load()
    assert {row[4] for row in rows("workers")} == {"false"}


def test_workers_whose_state_nobody_can_tell_have_none(join: Join) -> None:
    join("web-1", mode="R")
    join("web-2").set_name("fs1 what is this")
    found = json.loads(flags("workers", "--json").out)
    assert [worker["behind"] for worker in found] == [None, None]
    assert {worker["mode"] for worker in found} == {"reload", "unreadable"}


def test_workers_says_of_sessions_without_a_name(join: Join) -> None:
    join().set_name("flagstaff")
    ran = flags("workers")
    assert "1 session has no name" in ran.err
    assert ran.out == ""


def test_workers_says_that_nobody_is_there() -> None:
    assert "no worker is connected" in flags("workers").err


def test_workers_fails_where_there_are_none_to_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert flags("workers").status == 1
