"""`manage.py flags stale` and `snooze`, also in projects that lack the columns or the app."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from flagstaff import changes, experiments
from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.stale import assess_flags
from flagstaff.experiments.models import Experiment
from flagstaff.history import forget_user
from flagstaff.models import Change, FeatureFlag
from tests.support.stale_flags import (
    KEY,
    age_history,
    collect_usage,
    evaluate,
    make_flag,
    set_columns,
)
from tests.support.terminals import Ran, document, flags, rows, run, typed

pytestmark = pytest.mark.django_db


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
    changes.set_rollout(KEY, 100)
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


def test_stale_without_a_flag_to_show_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flags("stale", "--fail") == Ran(0, "", "no flag is stale\n")
    flag = make_flag(enabled=False)
    set_columns(monkeypatch, flag, owner="web")
    make_flag("another")
    evaluate("another")
    set_columns(monkeypatch, FeatureFlag.objects.get(key="another"), owner="mobile")
    assert flags("stale", "--owner", "mobile").err == "none of the selected flags is stale\n"
    assert flags("stale", "--owner", "nobody").err == (
        "no flag matches --owner and --tag; manage.py flags list shows all flags\n"
    )
    run(f"snooze {KEY} --until {day(-9)}")
    assert flags("stale").err == "no flag is stale, except snoozed ones\n"


def test_failure_says_what_to_do(shipped: FeatureFlag) -> None:
    ran = flags("stale", "--fail")
    assert ran.err == (
        "CommandError: 1 flag is stale; remove each from the code (manage.py flags references "
        "KEY), or, if you still need it, snooze it (manage.py flags snooze KEY --until DATE)\n"
    )
    assert ran.out.startswith(KEY)


def test_stale_days_replace_the_setting(shipped: FeatureFlag) -> None:
    assert rows("stale", "--days", "42") == []
    assert len(rows("stale", "--days", "41")) == 1
    assert flags("stale", "--days", "0").status == 1


def test_stale_filters_by_owner_and_tag(
    shipped: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_columns(monkeypatch, shipped, owner="web", tags=["q3", "checkout"])
    assert rows("stale", "--owner", "web", "--tag", "q3")[0][-1] == "web"
    assert rows("stale", "--owner", "mobile") == []
    assert rows("stale", "--tag", "q4") == []
    assert len(rows("stale", "--tag", "q3", "--tag", "checkout")) == 1
    assert rows("stale", "--tag", "q3", "--tag", "q4") == []


def test_stale_json_has_the_evidence(shipped: FeatureFlag) -> None:
    facts = {"result": True, "since": day(41), "days": 41, "exact": True}
    text = f"on for all users for 41 days, since {day(41)}"
    signals = [{"signal": "constant", **facts, "text": text}]
    columns: dict[str, object] = {"kind": "release", "owner": "", "tags": [], "review_on": None}
    snooze = {"snoozed_until": None, "snooze_reason": ""}
    flag = {"key": KEY, "signals": signals, "unknown": [], **columns, **snooze}
    assert document("stale") == {"days": 30, "flags": [flag], "ended": [], "unknown": []}


def test_stale_says_which_signals_are_unknown(settings: Any) -> None:
    make_flag()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    why = "the setting USAGE_INTERVAL is 0, so usage is not collected"
    unknown = f"no flag is stale\nit is not known whether new_checkout was evaluated: {why}\n"
    assert flags("stale", "--fail") == Ran(0, "", unknown)
    reason = {"code": "usage_turned_off", "values": {}, "text": why}
    assert document("stale")["unknown"] == [{"key": KEY, "signal": "not-evaluated", "why": reason}]
    make_flag("a")
    shown = f"it is not known whether a, new_checkout were evaluated: {why}"
    assert flags("stale").err.splitlines()[1:] == [shown]


@pytest.mark.parametrize("verb", ["stale", f"snooze {KEY} --until 2099-01-31"])
def test_missing_table_of_the_app_says_what_to_run(shipped: FeatureFlag, verb: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE flagstaff_cleanup_snooze")
    ran = run(verb)
    assert (ran.status, ran.out) == (1, "")
    assert 'does not exist; run "manage.py migrate"' in ran.err


def test_terminal_shows_a_table(shipped: FeatureFlag, plain_terminal: None) -> None:
    header, line, _next, command = typed("flags stale").splitlines()
    assert header.split() == ["KEY", "SIGNALS", "EVIDENCE", "OWNER"]
    evidence = f"on for all users for 41 days, since {day(41)}"
    assert line.split() == [KEY, "constant", *evidence.split()]
    patch = f"python manage.py flags references {KEY} --result {KEY}=on --diff"
    assert command.strip() == patch


def test_snoozed_flag_is_not_stale_until_the_date(shipped: FeatureFlag) -> None:
    until = day(-10)
    ran = run(f'snooze {KEY} --until {until} --reason "winter" --as-name deploy')
    assert ran == Ran(0, "", f"{KEY}: snoozed until {until}\n")
    ran = flags("stale", "--fail", "--snoozed")
    assert (ran.status, KEY in ran.out) == (0, True)
    assert flags("stale", "--fail").status == 0
    [[key, *_others, shown]] = rows("stale", "--snoozed")
    assert (key, shown) == (KEY, until)
    row = Snooze.objects.get()
    assert (row.flag_pk, row.reason, row.actor) == (str(shipped.pk), "winter", "deploy")
    Snooze.objects.update(until=timezone.localdate())
    assert flags("stale", "--fail").status == 1


def test_snooze_records_the_user_and_replaces_the_one_before(shipped: FeatureFlag) -> None:
    user = User.objects.create(username="alice")
    assert document("snooze", KEY, "--until", day(-20)) == {
        "key": KEY,
        "snoozed_until": day(-20),
        "reason": "",
    }
    run(f"snooze {KEY} --until {day(-1)} --reason a --as alice")
    assert Snooze.objects.get().actor == str(user.pk)
    forget_user(user)
    assert Snooze.objects.get().actor == ""


def test_snooze_of_a_deleted_flag_is_not_that_of_a_later_one(shipped: FeatureFlag) -> None:
    run(f"snooze {KEY} --until {day(-9)}")
    assert flags("stale", "--fail").status == 0
    # A table whose primary key is the key, or that gives a primary key twice.
    Snooze.objects.update(at=timezone.now() - timedelta(days=70))
    assert flags("stale", "--fail").status == 1


def test_end_of_a_snooze_makes_the_flag_stale_again(shipped: FeatureFlag) -> None:
    assert run(f"snooze {KEY} --until {day(-1)} --dry-run").status == 0
    assert not Snooze.objects.exists()
    run(f"snooze {KEY} --until {day(-1)}")
    assert run(f"snooze {KEY} --end --dry-run").status == 0
    assert Snooze.objects.exists()
    assert run(f"snooze {KEY} --end") == Ran(0, "", f"{KEY}: is no longer snoozed\n")
    assert len(rows("stale")) == 1
    assert run(f"snooze {KEY} --end").err == f"{KEY}: was not snoozed\n"


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (f"{KEY} --until 2020-01-31", 4, "refused: 2020-01-31 is not in the future"),
        (f"{KEY} --until tomorrow", 1, "expected a date such as"),
        (f"{KEY} --until 20990131", 1, "expected a date such as 2027-03-01, not '20990131'"),
        (f"{KEY} --until 2099-W05-1", 1, "expected a date such as"),
        (KEY, 1, "one of the arguments --until --end is required"),
        (f"{KEY} --until 2099-01-31 --end", 1, "not allowed with argument"),
        ("new_chekout --end", 5, "did you mean 'new_checkout'?"),
        ("new_chekout --until 2099-01-31", 5, "did you mean 'new_checkout'?"),
    ],
)
def test_snooze_refuses(shipped: FeatureFlag, arguments: str, status: int, problem: str) -> None:
    ran = run(f"snooze {arguments}")
    assert ran.status == status
    assert problem in ran.err
    assert not Snooze.objects.exists()


def test_shipped_experiment_is_handed_over_at_once_and_fails_after_the_days() -> None:
    experiments.create("checkout_button")
    experiments.start("checkout_button")
    assert document("stale")["ended"] == []
    experiments.ship("checkout_button", "treatment")
    Experiment.objects.update(ended_at=timezone.now() - timedelta(days=1))
    handed_over = (
        f"The experiment checkout_button has given everyone treatment since {day(1)}. Find it "
        "in the code: python manage.py flags references checkout_button\n"
    )
    assert flags("stale", "--fail") == Ran(0, "", f"no flag is stale\n{handed_over}")
    [ended] = document("stale")["ended"]
    assert (ended["kind"], ended["key"]) == ("experiment", "checkout_button")
    assert ended["result"] == "treatment"
    Experiment.objects.update(ended_at=timezone.now() - timedelta(days=31))
    ran = flags("stale", "--fail")
    assert (ran.status, "1 key is stale" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("", 0),
        ("--fail", 1),
        ("--fail --json", 1),
        ("--fail --snoozed", 1),
        ("--fail --days 42", 0),
        ("--fail --owner nobody", 0),
        ("--fail --tag q4", 0),
    ],
)
def test_exit_status_depends_on_the_selected_flags(
    shipped: FeatureFlag, options: str, status: int
) -> None:
    assert run(f"stale {options}").status == status


def test_review_due_today_is_not_past(shipped: FeatureFlag) -> None:
    changes.set_rollout(KEY, 50)
    FeatureFlag.objects.filter(key=KEY).update(review_on=timezone.localdate())
    assert run("stale --fail").status == 0
    FeatureFlag.objects.filter(key=KEY).update(review_on=timezone.localdate() - timedelta(days=1))
    assert run("stale --fail").status == 1


def test_flag_of_a_model_without_the_columns_is_stale_and_snoozed(bare_flag_model: Any) -> None:
    collect_usage()
    bare_flag_model.objects.create(key=KEY, enabled=True, rollout_percent=50)
    [found] = assess_flags()
    assert (found.facts.owner, found.facts.tags, found.facts.review_on) == ("", (), None)
    [stale] = document("stale")["flags"]
    assert (stale["key"], stale["owner"], stale["kind"]) == (KEY, "", "")
    assert [one["signal"] for one in stale["signals"]] == ["not-evaluated"]
    assert run("stale --fail").status == 1
    tomorrow = timezone.localdate() + timedelta(days=1)
    assert run(f"snooze {KEY} --until {tomorrow}").status == 0
    assert Snooze.objects.get().key == KEY
    assert run("stale --fail").status == 0


# SQLite has no history and no usage, so it shows that all of this is optional.
BARE = """
import os, sys
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "flagstaff", *sys.argv[2:]
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, SECRET_KEY="x",
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


def test_project_without_the_app_has_no_table_no_verb_and_no_import(
    tmp_path: Any, run_isolated: Any
) -> None:
    script = f"""{BARE}
from django.db import connection
print([name for name in connection.introspection.table_names() if "cleanup" in name])
from flagstaff.cli.main import all_verbs
print([one.name for one in all_verbs() if one.name in ("stale", "snooze", "references")])
print([name for name in sys.modules if name.startswith(("flagstaff.cleanup", "libcst"))])
"""
    assert run_isolated(script, str(tmp_path / "db")) == "[]\n[]\n[]\n"


def test_app_does_not_import_libcst_before_the_search(tmp_path: Any, run_isolated: Any) -> None:
    script = f"""{BARE}
call_command("flags", "stale", verbosity=0)
print([name for name in sys.modules if name.startswith("libcst")])
"""
    printed = run_isolated(script, str(tmp_path / "db"), "flagstaff.cleanup")
    assert printed.splitlines()[-1] == "[]"
