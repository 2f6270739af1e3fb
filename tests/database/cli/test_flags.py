"""`manage.py flags list`, `show`, `on`, `off`, `rollout`, `allow`, `create` and `delete`."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from flagstaff._tables.user_lookup import UserTable
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag
from tests.support.conditions import condition
from tests.support.forced_off import forced_off
from tests.support.sql import rows
from tests.support.terminals import (
    Terminal,
    document,
    flags,
    run,
    typed,
    undo_of,
)
from tests.support.usage_rows import add_usage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]


def listed_keys(options: str) -> list[str]:
    return [line.split("\t")[0] for line in run(f"list {options}").out.splitlines()]


def test_list_in_a_pipe_prints_tabs_without_a_header() -> None:
    first, *_ = flags("list").out.splitlines()
    assert first.split("\t") == [
        *("beta_reviews", "allowed-users", "0", "2", "permission"),
        *("2026-11-20T08:17:00+00:00", "Reviews before everybody sees them"),
    ]


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ("--state off", ["summer_banner"]),
        ("--state rollout", ["new_checkout"]),
        ("--state all", ["dark_mode"]),
        ("--state allowed-users", ["beta_reviews"]),
        ("--state by-rules", []),
        ("--state no-users", ["search_v2"]),
        ("--state rollout --state no-users", ["new_checkout", "search_v2"]),
        ("--kind ops", ["search_v2"]),
        ("--kind ops --state off", []),
        ("--search CHECK", ["new_checkout"]),
        ("--search everybody", ["beta_reviews"]),
        ("--search %", []),
        ("--search _v", ["search_v2"]),
    ],
)
def test_list_has_the_flags_that_its_options_select(options: str, keys: list[str]) -> None:
    assert listed_keys(options) == keys
    assert [flag["key"] for flag in document("list", *options.split())] == keys


def test_list_with_an_unknown_kind_names_the_kinds() -> None:
    message = "CommandError: there is no kind 'opps': choose from release, ops, permission\n"
    assert run("list --kind opps") == (2, "", message)


def test_list_without_flags_prints_a_message_to_stderr() -> None:
    FeatureFlag.objects.all().delete()
    assert flags("list") == (0, "", "no flags\n")
    assert flags("list", "--state", "off") == (0, "", "no matching flags\n")
    assert flags("list", "--json").out == "[]\n"
    assert typed("flags list") == "no flags\n"


def test_show_begins_with_the_summary_and_lists_ten_allowed_users_or_all_as_json() -> None:
    sentence = "On for 2 allowed users only."
    assert typed("flags show beta_reviews").startswith(f"{sentence}\n\n")
    assert flags("show", "beta_reviews").out.startswith(f"summary\t{sentence}\n")
    assert document("show", "beta_reviews")["summary"] == sentence
    users = User.objects.bulk_create(User(pk=n + 100, username=f"user {n}") for n in range(1200))
    FeatureFlag.objects.get(key="search_v2").allowed_users.set(users)
    assert "user 0, user 1," in typed("flags show search_v2")
    assert typed("flags show search_v2").endswith("user 9 and 1,190 more\n")
    shown = document("show", "search_v2")
    assert (shown["allowed"], len(shown["allowed_users"])) == (1200, 1200)
    assert shown["allowed_users"][0] == {"pk": 100, "name": "user 0"}


def test_change_as_json_has_old_new_version_and_undo() -> None:
    first = document("rollout", "new_checkout", "50")
    fields = {"key": "new_checkout", "field": "rollout_percent", "new": 50, "skipped_users": []}
    changed = {**fields, "old": 25, "changed": True, "version": flag_version("new_checkout")}
    assert first == {**changed, "undo": ["rollout", "new_checkout", "25"]}
    again = {**changed, "old": 50, "changed": False, "undo": None}
    assert document("rollout", "new_checkout", "50") == again


@pytest.mark.parametrize("typed_percent", ["7", "07", "7%", "7 %"])
def test_rollout_accepts_percent_signs_and_zeros(typed_percent: str) -> None:
    assert flags("rollout", "new_checkout", typed_percent).status == 0
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 7


@pytest.mark.parametrize("typed_percent", ["-1", "101", "2.5", "", "%", "٣", "1_0", "half"])
def test_rollout_refuses_other_text(typed_percent: str) -> None:
    with pytest.raises(CommandError, match="expected a whole number from 0 to 100, not"):
        call_command("flags", "rollout", "new_checkout", typed_percent)


@pytest.mark.django_db(transaction=True)
def test_flag_is_created_deleted_restored_and_created_again() -> None:
    create = 'create banner_2 --kind ops --description "Top of the page"'
    created = 'banner_2: created, description "Top of the page", kind "ops"'
    assert run(create).err.splitlines() == [
        created,
        "undo: python manage.py flags delete banner_2 --yes",
        "Off for all users.",
    ]
    assert run(create).status == 0
    assert run("create banner_2").status == 4
    printed = run("delete banner_2 --yes").err
    assert run("delete banner_2").err.startswith("banner_2: already deleted\n")
    undone = run(undo_of(printed))
    assert (undone.status, undone.err.splitlines()[0]) == (0, created)
    assert FeatureFlag.objects.get(key="banner_2").kind == "ops"
    run("delete banner_2 --yes")
    printed = run("create banner_2 --kind release").err
    assert printed.startswith('banner_2: created, kind "release"\n')
    existed = 'a flag with this key existed before; see "manage.py flags history banner_2"'
    assert existed in printed


def test_create_warns_of_a_key_that_differs_in_case() -> None:
    warning = "keys are case-sensitive: {} differs from {} only in case"
    shown = run("create NEW_CHECKOUT").err.splitlines()
    assert shown[-1] == warning.format("'NEW_CHECKOUT'", "'new_checkout'")
    assert run("create New_Checkout").err.splitlines()[-1] == warning.format(
        "'New_Checkout'", "'NEW_CHECKOUT', 'new_checkout'"
    )
    assert "case-sensitive" not in run("create new-checkout").err


def test_delete_says_how_often_the_flag_was_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    at = timezone.now() - timedelta(hours=1)
    rows("UPDATE flagstaff_usage SET hour = date_trunc('hour', %s), last_at = %s", at, at)
    summary = "On for 25 % of all users and 1 allowed user."
    usage = (
        "Evaluated 1,235 times in the last 30 days, 1,235 in the last day, "
        f"last at {at:%Y-%m-%d %H:%M:%S} UTC."
    )
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    monkeypatch.setattr("builtins.input", lambda: "n")
    facts = f"new_checkout: {summary} {usage}\n"
    question = "Delete new_checkout? [y/N]\n"
    assert run("delete new_checkout").err.startswith(f"{facts}{question}")
    assert run("delete new_checkout --yes").err.startswith(f"{facts}new_checkout: deleted")
    assert "Not evaluated in the last 30 days." in run("delete summer_banner --yes").err
    rows("ALTER TABLE flagstaff_usage RENAME TO gone")
    ran = run("delete search_v2 --yes")
    assert (ran.status, ran.err.splitlines()[0]) == (
        0,
        "search_v2: On for no users: the rollout is 0 % and there are no allowed users.",
    )


def test_delete_says_when_the_flag_was_served_in_bulk() -> None:
    add_usage("summer_banner", "bulk", 0)
    add_usage("search_v2", "bulk", 0)
    add_usage("search_v2", "browsers", 0)
    shown = run("delete summer_banner --yes").err
    assert "Not evaluated" not in shown
    assert ", which does not say whether the code uses it." in shown
    assert "Last served to browsers at " in run("delete search_v2 --yes").err


def test_list_show_and_on_name_flags_that_are_forced_off_here() -> None:
    here = "In this process it is forced off by FLAGSTAFF_FORCE_OFF."
    with forced_off(["new_checkout", "unknown"]):
        shown = typed("flags list")
        found = [flag["key"] for flag in document("list") if flag["forced_off"]]
        err = flags("list").err
        summary, *_ = typed("flags show new_checkout").splitlines()
        ran = flags("on", "new_checkout")
    [line] = [line for line in shown.splitlines() if line.startswith("new_checkout")]
    assert "rollout 25 % (forced off)" in line
    assert shown.count("(forced off)") == 1
    assert found == ["new_checkout"]
    assert err == "forced off in this process by FLAGSTAFF_FORCE_OFF: new_checkout\n"
    assert summary == f"On for 25 % of all users and 1 allowed user. {here}"
    assert (ran.status, here in ran.err) == (0, True)


def test_list_on_a_terminal_says_that_an_enabled_flag_has_rules() -> None:
    country = {"attribute": "country", "operator": "in", "values": ["DE"]}
    FeatureFlag.objects.update(rules=[{"conditions": [country]}])
    lines = {line.split()[0]: line for line in typed("flags list").splitlines()}
    # The rollout of dark_mode is 100 %, too.
    expected = {"search_v2": "by rules", "dark_mode": "on for all", "summer_banner": "off"}
    for key, shown in expected.items():
        assert f" {shown}  " in lines[key]
    assert 'rule 1: 100 % if country is "DE"\n' in typed("flags show search_v2")
    assert document("show", "search_v2")["rules"][0]["conditions"] == [country]
    # Rules of another form are shown as JSON.
    FeatureFlag.objects.update(rules={"a": 1})
    shown = typed("flags show search_v2")
    assert ' {"a": 1}\n' in shown
    assert "users with the flag  not counted: its rules cannot be read\n" in shown
    assert document("show", "search_v2")["summary"].startswith("The rules decide first.")
    assert "by rules" in typed("flags list")


def enabled() -> set[str]:
    return set(FeatureFlag.objects.filter(enabled=True).values_list("key", flat=True))


@pytest.mark.django_db(transaction=True)  # Each command is a transaction of its own.
def test_off_of_several_flags_is_one_transaction_with_one_undo() -> None:
    before, newest = enabled(), Change.objects.order_by("-id").values_list("id", flat=True)[0]
    printed = run("off new_checkout dark_mode").err
    assert printed.splitlines()[:4] == [
        "new_checkout: turned off",
        "new_checkout: Off for all users.",
        "dark_mode: turned off",
        "dark_mode: Off for all users.",
    ]
    written = Change.objects.filter(id__gt=newest)
    assert len(set(written.values_list("transaction_id", flat=True))) == 1
    assert enabled() == before - {"new_checkout", "dark_mode"}
    assert run(undo_of(printed)).status == 0
    assert enabled() == before
    # A repeated key is changed once.
    assert run("off dark_mode dark_mode").err.startswith("dark_mode: turned off\n")
    found = document("on", "summer_banner", "search_v2")
    changed = {one["key"]: one["changed"] for one in found["changes"]}
    assert changed == {"summer_banner": True, "search_v2": False}
    assert found["undo"][:1] == ["undo-transaction"]


def test_unknown_keys_are_named_together_before_anything_is_written() -> None:
    before = enabled()
    ran = flags("off", "new_checkout", "dark_mod", "new_chekout")
    assert ran == (
        5,
        "",
        (
            "CommandError: there is no flag 'dark_mod'; did you mean 'dark_mode'?\n"
            "there is no flag 'new_chekout'; did you mean 'new_checkout'?\n"
        ),
    )
    assert enabled() == before
    assert flags("show", "dark_mod", "new_chekout") == ran
    message = "CommandError: --expect-version needs one KEY\n"
    assert run("off new_checkout dark_mode --expect-version 1") == (2, "", message)
    assert enabled() == before


def test_rollout_of_several_flags_ends_with_the_percentage() -> None:
    assert run("rollout new_checkout search_v2 40").status == 0
    percents = dict(FeatureFlag.objects.values_list("key", "rollout_percent"))
    assert (percents["new_checkout"], percents["search_v2"], percents["dark_mode"]) == (40, 40, 100)


def test_delete_of_several_flags_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter("y")
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    printed = run("delete dark_mode search_v2").err.splitlines()
    assert printed[0].startswith("dark_mode: On for all users, and for everybody")
    assert printed[2] == "Delete dark_mode, search_v2? [y/N]"
    assert run("delete dark_mode search_v2 summer_banner --yes").status == 0
    assert not FeatureFlag.objects.filter(key__in=["dark_mode", "search_v2", "summer_banner"])


def test_show_of_several_flags_prints_each() -> None:
    shown = typed("flags show dark_mode search_v2")
    assert shown.startswith("On for all users, and for everybody who is not logged in.\n\nkey ")
    assert "\n\nOn for no users: the rollout is 0 %" in shown
    shown = document("show", "dark_mode", "search_v2")
    assert [one["key"] for one in shown] == ["dark_mode", "search_v2"]
    assert "\nkey\tsearch_v2\n" in run("show dark_mode search_v2").out


def allowed() -> list[str]:
    users = FeatureFlag.objects.get(key="new_checkout").allowed_users
    return list(users.order_by("username").values_list("username", flat=True))


def test_allow_adds_and_removes_users_by_primary_key_and_username() -> None:
    ran = run("allow new_checkout 2 alice")
    assert ran.err.splitlines() == [
        "new_checkout: added 1 allowed user (bob)",
        "undo: python manage.py flags disallow new_checkout bob",
        "On for 25 % of all users and 2 allowed users.",
    ]
    assert allowed() == ["alice", "bob"]
    again = run("allow new_checkout 2 alice")
    assert again.status == 0
    assert again.err.startswith("new_checkout: the allowed users are already up to date\n")
    assert run("disallow new_checkout alice bob").err.splitlines()[:2] == [
        "new_checkout: removed 2 allowed users (alice, bob)",
        "undo: python manage.py flags allow new_checkout alice bob",
    ]
    assert allowed() == []


@pytest.mark.parametrize(
    ("username", "shown", "argument"),
    [
        *[("1", "7", "7"), ("-rf", "7", "7"), ("a\tb", "7", "7")],
        ("Zoë O'Hara", "Zoë O'Hara", "'Zoë O'\"'\"'Hara'"),
    ],
)
def test_user_whose_name_is_not_an_argument_is_shown_by_primary_key(
    username: str, shown: str, argument: str
) -> None:
    User.objects.create(pk=7, username=username)
    printed = run("allow new_checkout 7").err
    assert printed.startswith(f"new_checkout: added 1 allowed user ({shown})\n")
    assert undo_of(printed) == f"disallow new_checkout {argument}"
    assert run(undo_of(printed)).status == 0
    assert allowed() == ["alice"]


def test_allow_with_json_returns_primary_keys() -> None:
    changed = document("allow", "new_checkout", "bob")
    assert (changed["new"], changed["undo"]) == ([2], ["disallow", "new_checkout", "2"])


def test_allow_by_a_role_that_may_not_read_usernames_shows_primary_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(UserTable, "unique_usernames", lambda *_: rows("SELECT 1 FROM missing"))
    printed = run("allow new_checkout bob").err
    assert printed.startswith("new_checkout: added 1 allowed user (2)\n")


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
    monkeypatch.setattr("sys.stdin", io.StringIO("bob\n"))
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
    assert run("allow new_checkout alcie").err == (
        "CommandError: no user has the primary key or username 'alcie'; to skip unknown users, "
        "pass --skip-unknown; did you mean 'alice'?\n"
    )


def test_allow_without_users_is_an_error(tmp_path: Path) -> None:
    assert run("allow new_checkout") == (2, "", "CommandError: no users: pass USER or --file\n")
    assert run(f"allow new_checkout --file {tmp_path / 'missing'}").status == 2


@pytest.mark.django_db(transaction=True)  # The change is a transaction of its own.
def test_allow_of_many_users_prints_a_short_undo_command(tmp_path: Path) -> None:
    crowd = User.objects.bulk_create([User(username=f"guest{n}") for n in range(3000)])
    path = tmp_path / "crowd"
    path.write_text("\n".join(user.username for user in crowd))
    printed = run(f"allow new_checkout --file {path}").err
    assert printed.splitlines()[0].endswith(" and 2990 more)")
    assert undo_of(printed) == f"undo new_checkout {flag_version('new_checkout')}"
    assert run(undo_of(printed)).status == 0
    assert allowed() == ["alice"]


def test_flag_with_a_rule_below_100_percent_is_by_rules_and_show_counts_the_users() -> None:
    staff = {"name": "staff", "conditions": [condition("is_staff", "in", True)]}
    german = {"conditions": [condition("country", "in", "DE")], "rollout_percent": 10}
    FeatureFlag.objects.filter(key="dark_mode").update(rules=[staff, german])
    User.objects.filter(username="bob").update(is_staff=True)
    assert listed_keys("--state by-rules") == ["dark_mode"]
    assert document("show", "dark_mode")["state"] == "by-rules"
    shown = typed("flags show dark_mode")
    assert "users with the flag  2 of 2; rules on country are not counted\n" in shown


def test_flag_whose_rules_and_rollout_are_at_100_percent_is_all_and_show_counts_the_users() -> None:
    staff = {"name": "staff", "conditions": [condition("is_staff", "in", True)]}
    flags = FeatureFlag.objects.filter(key="dark_mode")
    flags.update(rules=[staff], bucket_by="visitor")
    assert "dark_mode" in listed_keys("--state all")
    assert document("show", "dark_mode")["state"] == "all"
    shown = typed("flags show dark_mode")
    assert shown.startswith("On for all users: the rollout and all rules are at 100 %.")
    assert "on for all\n" in shown
    assert "users with the flag  2 of 2\n" in shown
    # Workers cannot read these.
    flags.update(rules=[{**staff, "conditions": [condition("country", "regex", "(")]}])
    assert listed_keys("--state by-rules") == ["dark_mode"]


def test_release_gives_a_flag_to_everybody_whom_rules_keep_out() -> None:
    german = {"conditions": [condition("country", "in", "DE")], "rollout_percent": 10}
    FeatureFlag.objects.filter(key="new_checkout").update(rules=[german])
    run("release new_checkout")
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent) == (True, 100)
    assert flag.rules == [{**german, "rollout_percent": 100}]
