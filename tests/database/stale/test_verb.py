"""`manage.py flags stale`, also without a history, and the job that counts."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag, StaleCount
from tests.support.stale_flags import (
    KEY,
    age_history,
    collect_usage,
    evaluate,
    make_flag,
)
from tests.support.terminals import Ran, document, flags, rows, run, table_rows, typed


@pytest.fixture(autouse=True)
def _counted() -> None:
    Change.objects.all().delete()
    collect_usage()


def day(ago: int) -> str:
    return f"{(timezone.now() - timedelta(days=ago)):%Y-%m-%d}"


@pytest.fixture
def shipped() -> FeatureFlag:
    """A flag that is on for everyone since 41 days, and is evaluated."""
    flag = make_flag()
    changes.flags.set_rollout(KEY, 100)
    age_history(41)
    evaluate(KEY)
    return flag


def test_stale_lists_each_flag_with_its_signals_and_evidence(shipped: FeatureFlag) -> None:
    make_flag("both", enabled=False)
    make_flag("unused", days=60)
    evaluate("unused", 33)
    off = f"off for all users for 60 days, since {day(60)}"
    unused = f"not evaluated for 60 days, since {day(60)}"
    assert rows("stale") == [
        ["both", "constant, not-evaluated", f"{off}; {unused}", ""],
        [KEY, "constant", f"on for all users for 41 days, since {day(41)}", ""],
        ["unused", "not-evaluated", f"not evaluated for 33 days, since {day(33)}", ""],
    ]


def test_stale_without_a_flag_to_show_says_why() -> None:
    assert flags("stale", "--fail") == Ran(0, "", "no flag is stale\n")
    make_flag(enabled=False, owner="web")
    make_flag("another", owner="mobile")
    evaluate("another")
    for owner in ("mobile", "nobody"):
        assert flags("stale", "--owner", owner).err == "no flag is stale\n"


@pytest.mark.parametrize(
    ("options", "is_listed"),
    [
        ("", True),
        ("--all", True),
        ("--days 41", True),
        ("--days 42", False),
        ("--owner web --tag q3", True),
        ("--owner mobile", False),
        ("--tag q3 --tag checkout", True),
        ("--tag q3 --tag q4", False),
    ],
)
def test_stale_and_fail_are_about_the_selected_flags(
    shipped: FeatureFlag, options: str, is_listed: bool
) -> None:
    FeatureFlag.objects.filter(pk=shipped.pk).update(owner="web", tags=["q3", "checkout"])
    ran = run(f"stale {options}")
    assert (ran.status, [key for key, *_others in table_rows(ran.out)]) == (0, [KEY] * is_listed)
    failed = run(f"stale {options} --fail")
    assert (failed.status, failed.out) == (int(is_listed), ran.out)
    advice = (
        "CommandError: 1 flag is stale; remove each from the code (manage.py flags references "
        "KEY), or, if you still need it, set the day of its next review (manage.py flags "
        "details KEY --review-on DATE)\n"
    )
    assert (failed.err == advice) is is_listed
    assert run(f"stale {options} --fail --json").status == int(is_listed)


def test_stale_json_has_the_evidence(shipped: FeatureFlag) -> None:
    facts = {"result": True, "since": day(41), "days": 41, "exact": True}
    text = f"on for all users for 41 days, since {day(41)}"
    signals = [{"signal": "constant", **facts, "text": text}]
    columns: dict[str, object] = {"kind": "release", "owner": "", "tags": [], "review_on": None}
    flag = {"key": KEY, "signals": signals, "unknown": [], **columns, "silent_until": None}
    assert document("stale") == {"days": 30, "flags": [flag], "silent": 0, "unknown": []}


def test_stale_says_which_signals_are_unknown(settings: Any) -> None:
    make_flag()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    why = "the setting USAGE_INTERVAL is 0, so usage is not collected"
    unknown = f"no flag is stale\nit is not known whether new_checkout was evaluated: {why}\n"
    assert flags("stale", "--fail") == Ran(0, "", unknown)
    assert document("stale")["unknown"] == [{"key": KEY, "signal": "not-evaluated", "why": why}]
    make_flag("a")
    shown = f"it is not known whether a, new_checkout were evaluated: {why}"
    assert flags("stale").err.splitlines()[1:] == [shown]


def test_terminal_shows_a_table(shipped: FeatureFlag, plain_terminal: None) -> None:
    header, line, command = typed("flags stale").splitlines()
    assert header.split() == ["KEY", "SIGNALS", "EVIDENCE", "OWNER"]
    evidence = f"on for all users for 41 days, since {day(41)}"
    assert line.split() == [KEY, "constant", *evidence.split()]
    assert command == f"find them in the code: python manage.py flags references {KEY}"


def test_flag_is_silent_until_a_review_that_was_set_while_it_was_stale(
    shipped: FeatureFlag,
) -> None:
    run(f"details {KEY} --review-on {day(-10)}")
    message = "1 flag is silent until the next review; --all lists them\n"
    assert flags("stale", "--fail") == Ran(0, "", f"no flag is stale\n{message}")
    assert document("stale")["silent"] == 1
    assert flags("stale", "--all", "--fail").status == 0
    [[key, *_others, shown]] = rows("stale", "--all")
    assert (key, shown) == (KEY, day(-10))
    [flag] = document("stale", "--all")["flags"]
    assert flag["silent_until"] == day(-10)


def test_review_date_that_was_moved_when_it_was_past_silences_the_flag() -> None:
    flag = make_flag(rollout_percent=100, days=40, review_on=day(15))
    age_history(-20, flag)
    evaluate(KEY)
    run(f"details {KEY} --review-on {day(-60)}")
    age_history(11, flag)
    assert document("stale")["silent"] == 1


# SQLite has no history and no usage, so it shows that all of this is optional.
BARE = """
import sys
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, SECRET_KEY="x",
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from flagstaff.models import FeatureFlag
FeatureFlag.objects.create(key="old", enabled=True, review_on="2020-01-31")
print("flagstaff.stale" in sys.modules)
call_command("flags", "stale", verbosity=0)
"""


def test_stale_on_sqlite_lists_past_reviews(tmp_path: Any, run_isolated: Any) -> None:
    is_imported, _header, listed = run_isolated(BARE, str(tmp_path / "db")).splitlines()
    assert is_imported == "False"
    assert listed.startswith("old\treview\tthe review was due on 2020-01-31")


def test_run_jobs_counts_the_stale_flags_once_an_hour() -> None:
    before = timezone.now()
    make_flag(review_on=date(2020, 1, 1))
    assert flags("run-jobs").status == 0
    stored = StaleCount.objects.get()
    assert stored.count == 1
    assert before <= stored.at <= timezone.now()
    FeatureFlag.objects.all().delete()
    flags("run-jobs")
    assert StaleCount.objects.get().count == 1
    StaleCount.objects.update(at=timezone.now() - timedelta(hours=1))
    flags("run-jobs")
    assert StaleCount.objects.get().count == 0
