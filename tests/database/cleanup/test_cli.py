"""`manage.py flags stale` and `snooze`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from flagstaff import acting_as, changes, experiments
from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.snoozes import snooze
from flagstaff.experiments.models import Experiment
from flagstaff.history import forget_user
from flagstaff.models import Change, FeatureFlag
from tests.support.stale_flags import KEY, age_history, collect_usage, evaluate, make_flag, set_columns
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


def test_stale_lists_the_flag_with_its_signals_and_evidence(shipped: FeatureFlag) -> None:
    make_flag("unused", days=60)
    evaluate("unused", 33)
    assert rows("stale") == [
        [KEY, "constant", f"on for all users for 41 days, since {day(41)}", ""],
        ["unused", "not-evaluated", f"not evaluated for 33 days, since {day(33)}", ""],
    ]


def test_stale_joins_the_signals_of_a_flag() -> None:
    make_flag(enabled=False)
    [[_key, names, evidence, _owner]] = rows("stale")
    assert names == "constant, not-evaluated"
    assert evidence == (
        f"off for all users for 60 days, since {day(60)}; not evaluated for 60 days, "
        f"since {day(60)}"
    )


def test_stale_without_a_stale_flag_says_so() -> None:
    assert flags("stale", "--fail") == Ran(0, "", "no flag is stale\n")


def test_stale_fails_only_if_asked_to(shipped: FeatureFlag) -> None:
    assert flags("stale").status == 0
    ran = flags("stale", "--fail")
    assert ran.status == 1
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
    since = day(41)
    assert document("stale") == {
        "days": 30,
        "flags": [
            {
                "key": KEY,
                "signals": [
                    {
                        "signal": "constant",
                        "result": True,
                        "since": since,
                        "days": 41,
                        "exact": True,
                        "text": f"on for all users for 41 days, since {since}",
                    }
                ],
                "unknown": [],
                "kind": "release",
                "owner": "",
                "tags": [],
                "review_on": None,
                "snoozed_until": None,
                "snooze_reason": "",
            }
        ],
        "ended": [],
        "unknown": [],
    }


def test_stale_without_a_stale_flag_of_an_owner_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = make_flag()
    evaluate(KEY)
    set_columns(monkeypatch, flag, owner="web")
    assert flags("stale", "--owner", "web").err == "none of the selected flags is stale\n"


def test_stale_of_an_owner_without_flags_says_so() -> None:
    make_flag(rollout_percent=100)
    assert flags("stale", "--owner", "web").err == (
        "no flag matches --owner and --tag; manage.py flags list shows all flags\n"
    )


def test_stale_with_only_snoozed_flags_says_so(shipped: FeatureFlag) -> None:
    until = f"{timezone.now() + timedelta(days=9):%Y-%m-%d}"
    run(f"snooze {KEY} --until {until}")
    assert flags("stale").err == "no flag is stale, except snoozed ones\n"


def test_stale_says_which_signals_are_unknown(settings: Any) -> None:
    make_flag()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    why = "the setting USAGE_INTERVAL is 0, so usage is not collected"
    assert flags("stale", "--fail") == Ran(
        0,
        "",
        f"no flag is stale\nit is not known whether new_checkout was evaluated: {why}\n",
    )
    assert document("stale")["unknown"] == [{"key": KEY, "signal": "not-evaluated", "why": why}]


def test_stale_says_once_why_signals_of_several_flags_are_unknown(settings: Any) -> None:
    make_flag("a")
    make_flag("b")
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    [_stale, why] = flags("stale").err.splitlines()
    assert why == (
        "it is not known whether a, b were evaluated: the setting USAGE_INTERVAL is 0, so usage is "
        "not collected"
    )


@pytest.mark.parametrize("verb", ["stale", f"snooze {KEY} --until 2099-01-31"])
def test_missing_table_of_the_app_says_what_to_run(shipped: FeatureFlag, verb: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE flagstaff_cleanup_snooze")
    ran = run(verb)
    assert (ran.status, ran.out) == (1, "")
    assert 'does not exist; run "manage.py migrate"' in ran.err


def test_terminal_shows_a_table(shipped: FeatureFlag, plain_terminal: None) -> None:
    header, line = typed("flags stale").splitlines()
    assert header.split() == ["KEY", "SIGNALS", "EVIDENCE", "OWNER"]
    assert line.split() == [
        KEY,
        "constant",
        *f"on for all users for 41 days, since {day(41)}".split(),
    ]


def test_snoozed_flag_is_not_stale_until_the_date(shipped: FeatureFlag) -> None:
    until = day(-10)
    ran = run(f'snooze {KEY} --until {until} --reason "winter" --as-name deploy')
    assert ran == Ran(0, "", f"{KEY}: snoozed until {until}\n")
    assert flags("stale", "--fail").status == 0
    [[key, *_others, shown]] = rows("stale", "--snoozed")
    assert (key, shown) == (KEY, until)
    row = Snooze.objects.get()
    assert (row.flag_pk, row.reason, row.actor) == (str(shipped.pk), "winter", "deploy")
    Snooze.objects.update(until=timezone.localdate())
    assert flags("stale", "--fail").status == 1


def test_snooze_records_the_user(shipped: FeatureFlag) -> None:
    user = User.objects.create(username="alice")
    run(f"snooze {KEY} --until {day(-1)} --as alice")
    assert Snooze.objects.get().actor == str(user.pk)


def test_snooze_replaces_the_one_before(shipped: FeatureFlag) -> None:
    run(f"snooze {KEY} --until {day(-1)} --reason a")
    assert document("snooze", KEY, "--until", day(-20)) == {
        "key": KEY,
        "snoozed_until": day(-20),
        "reason": "",
    }
    assert Snooze.objects.count() == 1


def test_snooze_of_a_deleted_flag_is_not_that_of_a_later_one(shipped: FeatureFlag) -> None:
    run(f"snooze {KEY} --until {day(-9)}")
    assert flags("stale", "--fail").status == 0
    # A table whose primary key is the key, or that gives a primary key twice.
    Snooze.objects.update(at=timezone.now() - timedelta(days=70))
    assert flags("stale", "--fail").status == 1


def test_snooze_end_makes_the_flag_stale_again(shipped: FeatureFlag) -> None:
    run(f"snooze {KEY} --until {day(-1)}")
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


def test_forgotten_user_is_no_actor_of_snoozes_any_more() -> None:
    make_flag()
    ana = User.objects.create_user("ana")
    with acting_as(ana):
        snooze(KEY, (timezone.now() + timedelta(days=9)).date())
    assert Snooze.objects.get().actor == str(ana.pk)
    forget_user(ana)
    assert Snooze.objects.get().actor == ""


# Experiments.


def ship_experiment(days_ago: int) -> None:
    experiments.create("checkout_button")
    experiments.start("checkout_button")
    experiments.ship("checkout_button", "treatment")
    Experiment.objects.update(ended_at=timezone.now() - timedelta(days=days_ago))


def test_shipped_experiment_is_handed_over_at_once() -> None:
    ship_experiment(days_ago=1)
    ran = flags("stale", "--fail")
    assert ran.status == 0
    assert ran.err == (
        "no flag is stale\n"
        f"The experiment checkout_button has given everyone treatment since {day(1)}. Remove it "
        "from the code: manage.py flags references checkout_button\n"
    )
    [ended] = document("stale")["ended"]
    assert (ended["kind"], ended["key"], ended["result"]) == (
        "experiment",
        "checkout_button",
        "treatment",
    )


def test_experiment_that_was_shipped_long_ago_fails() -> None:
    ship_experiment(days_ago=31)
    ran = flags("stale", "--fail")
    assert ran.status == 1
    assert "1 key is stale" in ran.err


def test_running_experiment_is_not_handed_over() -> None:
    experiments.create("checkout_button")
    experiments.start("checkout_button")
    assert document("stale")["ended"] == []


# Exit statuses.


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


def test_snoozed_flag_that_is_listed_does_not_fail(shipped: FeatureFlag) -> None:
    run(f"snooze {KEY} --until {day(-10)}")
    ran = run("stale --snoozed --fail")
    assert (ran.status, KEY in ran.out) == (0, True)


def test_unknown_signals_do_not_fail(settings: Any) -> None:
    make_flag()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    ran = run("stale --fail")
    assert (ran.status, "it is not known" in ran.err) == (0, True)


def test_review_due_today_is_not_past(shipped: FeatureFlag) -> None:
    changes.set_rollout(KEY, 50)
    FeatureFlag.objects.filter(key=KEY).update(review_on=timezone.localdate())
    assert run("stale --fail").status == 0
    FeatureFlag.objects.filter(key=KEY).update(review_on=timezone.localdate() - timedelta(days=1))
    assert run("stale --fail").status == 1


def test_dry_run_of_a_snooze_writes_nothing(shipped: FeatureFlag) -> None:
    ran = run(f"snooze {KEY} --until {day(-10)} --dry-run")
    assert ran.status == 0
    assert not Snooze.objects.exists()
    run(f"snooze {KEY} --until {day(-10)}")
    assert run(f"snooze {KEY} --end --dry-run").status == 0
    assert Snooze.objects.exists()
