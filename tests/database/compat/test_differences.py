"""`manage.py flags differences`, and how long the counts are kept."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from flagstaff._tables.names import optional_names
from flagstaff.cli.support.errors import DIFFERS
from flagstaff.compat import differences
from flagstaff.compat.differences import utc_day
from flagstaff.compat.models import Difference, WaffleRow
from flagstaff.history import forget_user
from tests.support.shadow import add_difference, days_ago
from tests.support.terminals import document, flags, rows, run, typed

pytestmark = pytest.mark.django_db


def problem() -> None:
    WaffleRow.objects.create(kind="switch", name="search", key="search", problem="a lock timeout")


def test_differences_are_added_up_over_days_and_sorted_by_urgency() -> None:
    add_difference("rule", count=3, days=1, user_pk="7", path="/cart/")
    add_difference("rule", count=4, user_pk="", path="")
    add_difference("percentage", name="banner", count=90, waffle=False)
    add_difference("no flag", name="old", kind="switch", count=1)
    add_difference("equal", count=1_000)
    add_difference("equal", count=500, days=1, waffle=False)
    today = str(days_ago(0))
    assert rows("differences") == [
        ["switch", "old", "no flag", "true", "false", "1", "0", today, "", ""],
        ["flag", "new_checkout", "rule", "true", "false", "7", "1500", today, "7", "/cart/"],
        ["flag", "banner", "percentage", "false", "true", "90", "0", today, "", ""],
    ]


@pytest.mark.parametrize("cause", ["rule", "other", "no flag", "cause of a newer version"])
def test_difference_that_must_be_looked_at_is_status_6(cause: str) -> None:
    add_difference(cause)
    add_difference("equal", count=10)
    ran = flags("differences")
    assert ran.status == DIFFERS
    assert ran.err == (
        f"compared 11 evaluations of 1 name; 10 equal since {days_ago(7)} UTC\n"
        "CommandError: 1 name must be looked at\n"
    )


@pytest.mark.parametrize("cause", ["percentage", "unsaved user", "stale cache", "equal"])
def test_expected_difference_is_no_failure(cause: str) -> None:
    add_difference(cause)
    assert flags("differences").status == 0


def test_workers_write_no_differences_without_waffle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "difference_table" in optional_names(connection)
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "waffle")
    assert "difference_table" not in optional_names(connection)


def test_change_that_could_not_be_mirrored_is_status_6() -> None:
    add_difference("equal")
    problem()
    ran = flags("differences")
    assert (ran.status, ran.out) == (DIFFERS, "")
    assert (
        "the last change of switch search was not written to flagstaff: a lock timeout\n" in ran.err
    )


def test_since_leaves_earlier_days_out() -> None:
    add_difference("rule", days=5)
    add_difference("equal", days=1)
    assert flags("differences").status == DIFFERS
    for since in ("2d", f"{timezone.now() - timedelta(days=2):%Y-%m-%d}"):
        ran = run(f"differences --since {since}")
        assert (ran.status, ran.out) == (0, "")
    assert "expected a time" in run("differences --since soon").err


def test_json_has_all_that_was_compared() -> None:
    add_difference("rule", user_pk="7", path="/cart/")
    add_difference("equal", count=10)
    problem()
    found = document("differences")
    assert found == {
        "since": str(days_ago(7)),
        "evaluations": 11,
        "equal": [{"kind": "flag", "name": "new_checkout", "count": 10}],
        "differences": [
            {
                "kind": "flag",
                "name": "new_checkout",
                "cause": "rule",
                "waffle": True,
                "flagstaff": False,
                "count": 1,
                "equal": 10,
                "last_day": str(days_ago(0)),
                "user": "7",
                "path": "/cart/",
                "must_be_looked_at": True,
            }
        ],
        "problems": [
            {"kind": "switch", "name": "search", "key": "search", "problem": "a lock timeout"}
        ],
        "why_nothing": None,
    }


def test_terminal_explains_each_cause_that_is_listed(
    plain_terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    add_difference("rule", count=12, path="/cart/")
    add_difference("equal", count=30)
    screen = typed("flags differences")
    assert "KIND  NAME          CAUSE  WAFFLE  FLAGSTAFF  COUNT  EQUAL  LAST DAY" in screen
    assert "flag  new_checkout  rule   on      off           12     30" in screen
    assert "rule: A rule or an allowed user decides only in waffle or only in flagstaff." in screen
    assert "percentage:" not in screen


def test_share_of_the_evaluations_is_named(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SHADOW": 0.1}}
    add_difference("equal")
    assert "1 equal; SHADOW is 0.1, so others were not compared since" in flags("differences").err


def test_nothing_compared_says_why(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(**waffle: Any) -> str:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": waffle}
        ran = flags("differences")
        assert (ran.status, ran.out) == (0, "")
        return ran.err

    assert why().startswith("Nothing was compared, and no worker is connected.")
    assert why(SHADOW=0) == 'Nothing is compared: SHADOW is 0 in FLAGSTAFF["WAFFLE"].\n'
    assert why(SERVE=True).startswith("Nothing is compared: SERVE is True")
    monkeypatch.setattr(differences, "is_postgresql", lambda connection: False)
    assert why().startswith("Nothing was compared: this needs PostgreSQL")
    assert document("differences")["why_nothing"].startswith("Nothing was compared")


def test_nothing_compared_by_connected_workers_says_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Overview:
        workers = ("one",)

    monkeypatch.setattr(differences, "worker_overview", lambda connection: Overview())
    assert flags("differences").err == (
        "Nothing was compared. Workers compare what waffle evaluates, and write their counts after "
        "some seconds.\n"
    )


def test_old_differences_are_deleted_after_30_days() -> None:
    for days in (0, 29, 32):
        add_difference("rule", days=days)
    run("run-jobs")
    kept = {days_ago(0), days_ago(29)}
    assert {*Difference.objects.values_list("day", flat=True)} == kept


def test_forgotten_user_is_no_example() -> None:
    alice = User.objects.create(username="alice")
    add_difference("rule", user_pk=str(alice.pk), path="/alice/")
    add_difference("other", user_pk=f"{alice.pk}0", path="/cart/")
    forget_user(alice.pk)
    found = {row.cause: (row.user_pk, row.path) for row in Difference.objects.all()}
    assert found == {"rule": ("", ""), "other": (f"{alice.pk}0", "/cart/")}


def test_forgotten_user_is_no_longer_a_user_that_was_written() -> None:
    alice = User.objects.create(username="alice")
    # Both contain her primary key as text, and neither is it.
    others = [f"{alice.pk}0", f"1{alice.pk}"]
    written = {"checkout": [others[0], str(alice.pk), others[1]], "search": others}
    for name, users in written.items():
        WaffleRow.objects.create(kind="flag", name=name, key=name, users=users)
    forget_user(alice.pk)
    assert [row.users for row in WaffleRow.objects.all()] == [others, others]


def test_days_are_those_of_the_database(settings: Any) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    morning = timezone.make_aware(datetime(2026, 11, 26, 8))  # noqa: DTZ001 (naive at first)
    assert utc_day(morning) == date(2026, 11, 25)
