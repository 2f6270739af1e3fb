"""`manage.py flags history` and `forget-user`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from flagstaff.changes import set_rollout
from flagstaff.models import Change
from tests.support.history_fixtures import role_that_reads
from tests.support.terminals import run, typed

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


def test_history_prints_change_actor_source_and_reason() -> None:
    run("rollout new_checkout 50 --as alice --reason 'ticket 7'")
    run("allow new_checkout bob")
    lines = [line.split("\t") for line in run("history new_checkout").out.splitlines()]
    assert [line[2:] for line in lines[:2]] == [
        ["flag", "new_checkout", "added 1 allowed user", "postgres (database user)", "command", ""],
        ["flag", "new_checkout", "rollout_percent 25 → 50", "alice", "command", "ticket 7"],
    ]
    assert "added 1 allowed user (bob)" in run("history new_checkout --users --limit 1").out
    assert "VERSION" in typed("flags history new_checkout")


@pytest.fixture
def _role_without_values(cli_shop: None) -> Iterator[None]:
    with role_that_reads(
        "flagstaff_featureflag",
        "flagstaff_featureflag_allowed_users",
        "flagstaff_segment",
        "flagstaff_change",
        "auth_user",
    ):
        yield


@pytest.mark.usefixtures("_role_without_values")
def test_history_leaves_out_segments_that_the_role_may_not_read() -> None:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE; REVOKE SELECT ON flagstaff_segment FROM no_values")
        cursor.execute("SET ROLE no_values")
    ran = run("history new_checkout")
    assert ran.status == 0
    assert "segments are left out: this database user may not read them\n" in ran.err


@pytest.mark.usefixtures("_role_without_values")
@pytest.mark.parametrize("line", ["history", "history new_checkout"])
def test_history_leaves_out_values_that_the_role_may_not_read(line: str) -> None:
    ran = run(line)
    assert (ran.status, ran.err) == (
        0,
        "values are left out: this database user may not read them\n",
    )
    assert "new_checkout" in ran.out


@pytest.mark.usefixtures("_role_without_values")
def test_unknown_key_is_an_error_for_a_role_that_may_not_read_values() -> None:
    assert "there is no flag, value or segment 'new_chekout'; did you mean 'new_checkout'?" in (
        run("history new_chekout").err
    )


def test_history_as_json_and_csv_is_complete() -> None:
    run("allow new_checkout bob --as alice")
    [newest, *_] = json.loads(run("history new_checkout --json").out)
    assert (newest["actor"], newest["added"]) == ("1", {"count": 1, "pks": [2]})
    [row, *_] = csv.DictReader(io.StringIO(run("history new_checkout --csv").out))
    assert (row["version"], row["key"]) == (str(newest["version"]), "new_checkout")
    assert len(json.loads(run("history --json --limit 2").out)) == 2
    older = json.loads(run(f"history new_checkout --json --before {newest['version']}").out)
    assert newest not in older


def test_history_shows_flags_and_values_newest_first() -> None:
    run("rollout new_checkout 50")
    run("value set page_size 50")
    run("off dark_mode")
    shown = [line.split("\t")[2:4] for line in run("history --limit 3").out.splitlines()]
    assert shown == [["flag", "dark_mode"], ["value", "page_size"], ["flag", "new_checkout"]]
    [newest] = json.loads(run("history --json --limit 1").out)
    before = f"history --before {newest['version']} --limit 1 --json"
    assert [event["key"] for event in json.loads(run(before).out)] == ["page_size"]


def test_history_of_a_key_shows_the_flag_and_the_value_of_this_key() -> None:
    run("value create new_checkout 5")
    run("value create limit 5")
    assert json.loads(run("history limit --json").out)[0]["kind"] == "value"
    kinds = [event["kind"] for event in json.loads(run("history new_checkout --json").out)]
    assert (kinds[0], set(kinds[1:])) == ("value", {"flag"})
    only = json.loads(run("history new_checkout --value --json").out)
    assert [event["kind"] for event in only] == ["value"]


def test_history_on_a_terminal_has_seconds_and_time_zone() -> None:
    run("off new_checkout")
    shown = typed("flags history new_checkout --limit 1")
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC +flag  new_checkout\b", shown)


def test_history_of_an_unknown_key_is_an_error() -> None:
    assert run("history payment_gatewy") == (
        5,
        "",
        (
            "CommandError: there is no flag, value or segment 'payment_gatewy'; "
            "did you mean 'payment_gateway'?\n"
        ),
    )
    assert run("history new_chekout").status == 5
    Change.objects.all().delete()
    assert run("history new_checkout") == (0, "", "no matching entries\n")


def test_prune_deletes_old_entries() -> None:
    set_rollout("new_checkout", 50)
    Change.objects.update(at=timezone.now() - timedelta(days=100))
    count = Change.objects.count()
    assert run("history --prune --older-than 365 --yes").err == "deleted 0 history entries\n"
    run("history --prune --older-than 90d --yes")
    assert 0 < Change.objects.count() < count
    for line in ("history --prune --yes", "history new_checkout --prune --older-than 9 --yes"):
        assert run(line).status == 2


@pytest.mark.parametrize("pk", ["1", "01"])
def test_forget_user_removes_the_user_from_the_history(pk: str) -> None:
    run("off new_checkout --as alice")
    User.objects.get(username="alice").delete()
    assert "removed user" in run(f"forget-user {pk} --yes").err
    assert "1" not in Change.objects.values_list("actor", flat=True)
