"""`manage.py flags list`, `show`, `on`, `off`, `rollout`, `create` and `delete`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.forced_off import forced_off
from tests.support.terminals import Terminal, document, flags, run, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]


def listed_keys(*arguments: str) -> list[str]:
    return [line.split("\t")[0] for line in flags("list", *arguments).out.splitlines()]


def test_list_in_a_pipe_prints_tabs_without_a_header() -> None:
    first, *_ = flags("list").out.splitlines()
    assert first.split("\t") == [
        *("beta_reviews", "allowed-users", "0", "2", "permission"),
        *("2026-11-20T08:17:00+00:00", "Reviews before everybody sees them"),
    ]


@pytest.mark.parametrize(
    ("state", "key"),
    [
        ("off", "summer_banner"),
        ("rollout", "new_checkout"),
        ("all", "dark_mode"),
        ("allowed-users", "beta_reviews"),
        ("no-users", "search_v2"),
    ],
)
def test_list_filters_by_state(state: str, key: str) -> None:
    assert listed_keys("--state", state) == [key]
    assert [flag["state"] for flag in document("list", "--state", state)] == [state]


def test_list_combines_its_filters() -> None:
    assert listed_keys("--state", "rollout", "--state", "no-users") == ["new_checkout", "search_v2"]
    assert listed_keys("--kind", "ops") == ["search_v2"]
    assert listed_keys("--kind", "ops", "--state", "off") == []


def test_list_with_an_unknown_kind_names_the_kinds() -> None:
    status, out, err = flags("list", "--kind", "opps")
    assert (status, out) == (2, "")
    assert err == ("CommandError: there is no kind 'opps': choose from release, ops, permission\n")


def test_list_as_json_has_every_field() -> None:
    fields = {field.name for field in FeatureFlag._meta.concrete_fields}
    fields |= {"state", "allowed", "forced_off"}
    assert all(set(flag) == fields for flag in document("list"))


def test_list_without_flags_prints_a_message_to_stderr() -> None:
    FeatureFlag.objects.all().delete()
    assert flags("list") == (0, "", "no flags\n")
    assert flags("list", "--state", "off") == (0, "", "no matching flags\n")
    assert flags("list", "--json").out == "[]\n"
    assert typed("flags list") == "no flags\n"


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("summer_banner", "Off for all users."),
        ("new_checkout", "On for 25 % of all users and 1 allowed user."),
        ("dark_mode", "On for all users."),
        ("beta_reviews", "On for 2 allowed users only."),
        ("search_v2", "On for no users: the rollout is 0 % and there are no allowed users."),
    ],
)
def test_show_summarizes_which_users_have_the_flag(key: str, sentence: str) -> None:
    assert typed(f"flags show {key}").startswith(f"{sentence}\n\n")
    assert flags("show", key).out.startswith(f"summary\t{sentence}\n")
    assert document("show", key)["summary"] == sentence


def test_summary_of_a_flag_with_rules_says_that_they_decide() -> None:
    staff = {"attribute": "is_staff", "operator": "in", "values": [True]}
    FeatureFlag.objects.update(rules=[{"conditions": [staff]}])
    assert document("show", "summer_banner")["summary"] == "Off for all users."
    assert document("show", "search_v2")["summary"] == (
        "The rules decide first. On for 0 % of all other users."
    )
    assert document("show", "new_checkout")["summary"] == (
        "On for 1 allowed user. For all others, the rules decide first. On for 25 % of the users "
        "that no rule matches."
    )
    assert "by rules" in typed("flags list")


def test_show_lists_ten_allowed_users_on_a_terminal_and_all_as_json() -> None:
    users = User.objects.bulk_create(User(pk=n + 100, username=f"user {n}") for n in range(1200))
    FeatureFlag.objects.get(key="search_v2").allowed_users.set(users)
    assert "user 0, user 1," in typed("flags show search_v2")
    assert typed("flags show search_v2").endswith("user 9 and 1,190 more\n")
    shown = document("show", "search_v2")
    assert (shown["allowed"], len(shown["allowed_users"])) == (1200, 1200)
    assert shown["allowed_users"][0] == {"pk": 100, "name": "user 0"}


def stored_rows() -> list[list[dict[str, Any]]]:
    """Returns all flags and values without their clocks."""
    documents = document("list"), document("value", "list")
    return [[{**record, "changed_at": None} for record in records] for records in documents]


@pytest.mark.parametrize(
    "line",
    [
        "on summer_banner",
        "off new_checkout",
        "rollout new_checkout 50",
        "value set payment_gateway '\"it''s\"'",
        'value set page_size \'{"a": [1, "b c"]}\'',
    ],
)
def test_printed_undo_command_reverts_the_change(line: str) -> None:
    before = stored_rows()
    printed = run(line).err
    [undo] = re.findall(r"^undo: manage\.py flags (.+)$", printed, re.MULTILINE)
    assert stored_rows() != before
    assert run(undo).status == 0
    assert stored_rows() == before


def test_change_is_printed_to_stderr() -> None:
    lines = [
        "dark_mode: enabled true → false",
        "undo: manage.py flags on dark_mode",
        "Off for all users.",
    ]
    assert flags("off", "dark_mode") == (0, "", "\n".join([*lines, ""]))


def test_change_as_json_has_old_new_version_and_undo() -> None:
    expected = {"key": "new_checkout", "field": "rollout_percent", "old": 25, "new": 50}
    first = document("rollout", "new_checkout", "50")
    version = flag_version("new_checkout")
    more = {"changed": True, "version": version, "undo": ["rollout", "new_checkout", "25"]}
    assert first == {**expected, **more, "skipped_users": []}
    again = {**expected, **more, "old": 50, "changed": False, "undo": None, "skipped_users": []}
    assert document("rollout", "new_checkout", "50") == again


def test_repeated_change_is_a_no_op_without_undo() -> None:
    status, _, err = flags("on", "dark_mode")
    assert (status, err.splitlines()[0]) == (
        0,
        "dark_mode: enabled is already true",
    )
    assert "undo" not in err


@pytest.mark.parametrize("typed_percent", ["7", "07", "7%", "7 %"])
def test_rollout_accepts_percent_signs_and_zeros(typed_percent: str) -> None:
    assert flags("rollout", "new_checkout", typed_percent).status == 0
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 7


@pytest.mark.parametrize("typed_percent", ["-1", "101", "2.5", "", "%", "٣", "1_0", "half"])
def test_rollout_refuses_other_text(typed_percent: str) -> None:
    with pytest.raises(CommandError, match="expected a whole number from 0 to 100, not"):
        call_command("flags", "rollout", "new_checkout", typed_percent)


def test_kill_does_not_ask_for_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda: pytest.fail("it asks"))
    assert run("kill new_checkout").status == 0
    assert FeatureFlag.objects.get(key="new_checkout").enabled is False


@pytest.mark.django_db(transaction=True)
def test_flag_is_created_deleted_restored_and_created_again() -> None:
    printed = run('create banner_2 --kind ops --description "Top of the page"').err.splitlines()
    assert printed == [
        'banner_2: created, description "Top of the page", kind "ops"',
        "undo: manage.py flags delete banner_2 --yes",
        "Off for all users.",
    ]
    assert run('create banner_2 --kind ops --description "Top of the page"').status == 0
    assert run("create banner_2").status == 4
    printed = run("delete banner_2 --yes").err.splitlines()
    [undo] = [line for line in printed if line.startswith("undo: ")]
    assert run("delete banner_2").err.startswith("banner_2: already deleted\n")
    undone = run(undo.removeprefix("undo: manage.py flags "))
    assert undone.status == 0
    created = 'banner_2: created, description "Top of the page", kind "ops"'
    assert undone.err.splitlines()[0] == created
    assert FeatureFlag.objects.get(key="banner_2").kind == "ops"
    run("delete banner_2 --yes")
    assert (
        'a flag with this key existed before; see "manage.py flags history banner_2"'
        in run("create banner_2").err
    )


def test_create_prints_no_default() -> None:
    assert run("create banner_2 --kind release").err.splitlines()[0] == "banner_2: created"


def test_create_warns_of_a_key_that_differs_in_case() -> None:
    warning = "keys are case-sensitive: {} differs from {} only in case"
    shown = run("create NEW_CHECKOUT").err.splitlines()
    assert shown[-1] == warning.format("'NEW_CHECKOUT'", "'new_checkout'")
    assert run("create New_Checkout").err.splitlines()[-1] == warning.format(
        "'New_Checkout'", "'NEW_CHECKOUT', 'new_checkout'"
    )
    assert "case-sensitive" not in run("create new-checkout").err


def test_delete_says_how_often_the_flag_was_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_usage SET hour = now(), last_evaluated_at = '2026-11-20 14:03:05Z';"
            "UPDATE flagstaff_usage_worker SET last_seen_at = now()"
        )
    summary = "On for 25 % of all users and 1 allowed user."
    usage = (
        "Evaluated 1,235 times in the last 30 days, last at 2026-11-20 14:03:05 UTC. "
        "In this time, workers ran on: web-1."
    )
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    monkeypatch.setattr("builtins.input", lambda: "n")
    assert run("delete new_checkout").err.startswith(
        f"Delete new_checkout? {summary} {usage} [y/N]\n"
    )
    assert run("delete new_checkout --yes").err.startswith(f"new_checkout: {usage}\n")


def test_delete_says_that_the_flag_was_not_evaluated() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_usage_worker VALUES ('1', 'web-1', 1, now(), 60, 1, now(), NULL)"
        )
    assert "Not evaluated in the last 30 days." in run("delete summer_banner --yes").err


def test_delete_does_not_need_the_usage() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_usage RENAME TO gone")
    ran = run("delete summer_banner --yes")
    assert (ran.status, ran.err.splitlines()[0]) == (0, "summer_banner: deleted")


def test_list_marks_forced_off_flags() -> None:
    with forced_off(["new_checkout", "unknown"]):
        shown = typed("flags list")
        found = {flag["key"]: flag["forced_off"] for flag in document("list")}
        err = flags("list").err
    [line] = [line for line in shown.splitlines() if line.startswith("new_checkout")]
    assert "rollout 25 % (forced off)" in line
    assert shown.count("(forced off)") == 1
    assert [key for key, forced in found.items() if forced] == ["new_checkout"]
    assert err == "forced off in this process by FLAGSTAFF_FORCE_OFF: new_checkout\n"


def test_show_of_a_forced_off_flag_names_the_environment() -> None:
    with forced_off(["new_checkout"]):
        summary, *_ = typed("flags show new_checkout").splitlines()
    assert summary == (
        "On for 25 % of all users and 1 allowed user. "
        "In this process it is forced off by FLAGSTAFF_FORCE_OFF."
    )


def test_on_of_a_forced_off_flag_says_that_it_stays_off_here() -> None:
    with forced_off(["summer_banner"]):
        ran = flags("on", "summer_banner")
    assert ran.status == 0
    assert "In this process it is forced off by FLAGSTAFF_FORCE_OFF." in ran.err


# Rules.


def set_rules(key: str, *countries: str) -> None:
    rules = [
        {"conditions": [{"attribute": "country", "operator": "in", "values": [country]}]}
        for country in countries
    ]
    FeatureFlag.objects.filter(key=key).update(rules=rules)


@pytest.mark.parametrize(
    ("key", "countries", "shown"),
    [
        ("search_v2", ["DE"], "by rules"),
        ("dark_mode", ["DE", "AT"], "by rules"),
        ("summer_banner", ["DE"], "off"),
    ],
)
def test_list_on_a_terminal_says_that_a_flag_has_rules(
    key: str, countries: list[str], shown: str
) -> None:
    set_rules(key, *countries)
    [line] = [line for line in typed("flags list").splitlines() if line.startswith(key)]
    assert f" {shown}  " in line


def test_show_on_a_terminal_has_the_rules_in_sentences() -> None:
    set_rules("search_v2", "DE")
    assert 'rules            rule 1: 100 % if country is "DE"\n' in typed("flags show search_v2")
    assert document("show", "search_v2")["rules"][0]["conditions"][0]["values"] == ["DE"]


def test_rules_of_another_form_are_shown_as_json() -> None:
    FeatureFlag.objects.filter(key="search_v2").update(rules={"a": 1})
    assert 'rules            {"a": 1}\n' in typed("flags show search_v2")
    assert document("show", "search_v2")["summary"].startswith("The rules decide first.")
    assert "by rules" in typed("flags list")
