"""`manage.py flags`: what each verb prints and does."""

from __future__ import annotations

import json
import re
import shlex
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from flagstaff import explain, flag_enabled
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag
from tests.terminals import flags, open_shop, typed

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(db: None) -> None:
    open_shop()


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def document(*arguments: str) -> Any:
    return json.loads(flags(*arguments, "--json").out)


def keys(*arguments: str) -> list[str]:
    return [line.split("\t")[0] for line in flags("list", *arguments).out.splitlines()]


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


# list


@pytest.mark.usefixtures("shop")
def test_list_in_a_pipe_has_tabs_and_no_header() -> None:
    first, *_ = flags("list").out.splitlines()
    assert first.split("\t") == [
        *("beta_reviews", "allowed-users", "0", "2", "permission"),
        *("2026-11-20T08:17:00+00:00", "Reviews before everybody sees them"),
    ]


@pytest.mark.usefixtures("shop")
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
def test_list_shows_the_flags_of_a_state(state: str, key: str) -> None:
    assert keys("--state", state) == [key]
    assert [flag["state"] for flag in document("list", "--state", state)] == [state]


@pytest.mark.usefixtures("shop")
def test_filters_of_list_are_combined() -> None:
    assert keys("--state", "rollout", "--state", "no-users") == ["new_checkout", "search_v2"]
    assert keys("--kind", "ops") == ["search_v2"]
    assert keys("--kind", "ops", "--state", "off") == []


@pytest.mark.usefixtures("shop")
def test_kind_that_there_is_not_is_told_with_those_that_there_are() -> None:
    status, out, err = flags("list", "--kind", "opps")
    assert (status, out) == (2, "")
    expected = "CommandError: there is no kind 'opps': release, ops, permission\n"
    assert err == expected


@pytest.mark.usefixtures("shop")
def test_document_of_list_has_every_field() -> None:
    fields = {field.name for field in FeatureFlag._meta.concrete_fields} | {"state", "allowed"}
    assert all(set(flag) == fields for flag in document("list"))


def test_list_without_a_flag_says_so_beside_the_data() -> None:
    assert flags("list") == (0, "", "there is no flag\n")
    assert flags("list", "--state", "off") == (0, "", "there is no such flag\n")
    assert flags("list", "--json").out == "[]\n"
    assert typed("flags list") == "there is no flag\n"


@pytest.mark.parametrize(("columns", "cut"), [("80", True), ("300", False)])
def test_table_is_as_wide_as_the_terminal(
    columns: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    FeatureFlag.objects.create(key="new_checkout", description="many words " * 10)
    shown = typed("flags list").splitlines()
    assert max(map(len, shown)) == 80 if cut else max(map(len, shown)) > 100
    assert shown[1].endswith("…") is cut


def test_key_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    key = "k" * 200
    FeatureFlag.objects.create(key=key, description="many words " * 10)
    assert key in typed("flags list")


def test_columns_stand_below_each_other_whatever_they_hold() -> None:
    for key in ("a", "新しい", "e\u0301te\u0301", "🚩"):
        FeatureFlag.objects.create(key=key)
    rows = typed("flags list").splitlines()[1:]
    # How many places each key takes on a terminal: its letters, two for the wide ones.
    widths = dict(zip(["a", "e\u0301te\u0301", "新しい", "🚩"], [1, 3, 6, 2], strict=True))
    for row in rows:
        key, spaces = re.split(r"(?= )", row, maxsplit=1)
        assert widths[key] + len(spaces) - len(spaces.lstrip()) == 6 + 2


def test_text_cannot_steer_the_terminal_or_break_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    FeatureFlag.objects.create(key="new_checkout", description="a\n\tb \x1b[31mred\x9b1m")
    KeyValueStore.objects.create(key="motd", value="\x9b31m \x1b")
    for shown in (flags("list").out, typed("flags show new_checkout"), typed("flags list")):
        assert "a b �[31mred�1m" in shown
    for line in ("flags value list", "flags value get motd"):
        assert "\x9b" not in typed(line)
        assert "\x1b" not in typed(line)


# show


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("summer_banner", "Nobody has it: it is off."),
        ("new_checkout", "25 % of all users have it, and 1 allowed user in any case."),
        ("dark_mode", "Everybody has it."),
        ("beta_reviews", "Only 2 allowed users have it."),
        ("search_v2", "Nobody has it: it is on, but at 0 % and with no allowed user."),
    ],
)
def test_show_says_who_has_the_flag(key: str, sentence: str) -> None:
    assert typed(f"flags show {key}").startswith(f"{sentence}\n\n")
    assert flags("show", key).out.startswith(f"who\t{sentence}\n")
    assert document("show", key)["who"] == sentence


@pytest.mark.usefixtures("shop")
def test_show_names_some_allowed_users_to_a_person_and_all_to_a_program() -> None:
    users = User.objects.bulk_create(User(pk=n + 100, username=f"user {n}") for n in range(1200))
    FeatureFlag.objects.get(key="search_v2").allowed_users.set(users)
    assert "user 0, user 1," in typed("flags show search_v2")
    assert typed("flags show search_v2").endswith("user 9 and 1,190 more\n")
    shown = document("show", "search_v2")
    assert (shown["allowed"], len(shown["allowed_users"])) == (1200, 1200)
    assert shown["allowed_users"][0] == {"pk": 100, "name": "user 0"}


# on, off, ramp


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "line",
    [
        "on summer_banner",
        "off new_checkout",
        "ramp new_checkout 50",
        "value set payment_gateway '\"it''s\"'",
        'value set page_size \'{"a": [1, "b c"]}\'',
    ],
)
def test_undo_takes_a_change_back(line: str) -> None:
    before = [document("list"), document("value", "list")]
    told = flags(*shlex.split(line)).err
    [undo] = re.findall(r"^undo: manage\.py flags (.+)$", told, re.MULTILINE)
    assert forget_clocks([document("list"), document("value", "list")]) != forget_clocks(before)
    assert flags(*shlex.split(undo)).status == 0
    assert forget_clocks([document("list"), document("value", "list")]) == forget_clocks(before)


def forget_clocks(documents: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    return [
        [{**record, "changed_at": None} for record in documents_of] for documents_of in documents
    ]


@pytest.mark.usefixtures("shop")
def test_change_is_told_beside_the_data() -> None:
    told = [
        "dark_mode: enabled true → false",
        "undo: manage.py flags on dark_mode",
        "Nobody has it: it is off.",
    ]
    assert flags("off", "dark_mode") == (0, "", "\n".join([*told, ""]))


@pytest.mark.usefixtures("shop")
def test_change_as_a_document() -> None:
    expected = {"key": "new_checkout", "field": "rollout_percent", "old": 25, "new": 50}
    first = document("ramp", "new_checkout", "50")
    version = flag_version("new_checkout")
    more = {"changed": True, "version": version, "undo": ["ramp", "new_checkout", "25"]}
    assert first == {**expected, **more, "missing": []}
    again = {**expected, **more, "old": 50, "changed": False, "undo": None, "missing": []}
    assert document("ramp", "new_checkout", "50") == again


@pytest.mark.usefixtures("shop")
def test_second_change_has_nothing_to_do_and_nothing_to_undo() -> None:
    status, _, err = flags("on", "dark_mode")
    assert (status, err.splitlines()[0]) == (
        0,
        "dark_mode: enabled is true already, nothing to do",
    )
    assert "undo" not in err


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("typed_percent", ["7", "07", "7%", "7 %"])
def test_percent_is_taken_as_people_write_it(typed_percent: str) -> None:
    assert flags("ramp", "new_checkout", typed_percent).status == 0
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 7


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("typed_percent", ["-1", "101", "2.5", "", "%", "٣", "1_0", "half"])
def test_percent_that_is_none_is_told(typed_percent: str) -> None:
    with pytest.raises(CommandError, match="expected a whole number from 0 to 100, not"):
        call_command("flags", "ramp", "new_checkout", typed_percent)


# explain

KEYS = ["beta_reviews", "dark_mode", "new_checkout", "search_v2", "summer_banner"]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("key", KEYS)
def test_explanation_never_differs_from_the_answer(key: str) -> None:
    for user in (None, *range(1, 20)):
        told = document("explain", key, "--anonymous" if user is None else str(user))
        explanation = explain(key, user)
        assert told["value"] is flag_enabled(key, user)
        assert (told["reason"], told["bucket"]) == (explanation.reason, explanation.bucket)
        # What stands above the deciding step was passed, what stands below was not looked at.
        reached = [step["decides"] for step in told["steps"] if step["met"] is not None]
        assert reached == [False] * (len(reached) - 1) + [True]


@pytest.mark.usefixtures("shop")
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
def test_step_that_decides_is_marked(key: str, user: str, value: bool, decides: str) -> None:
    told = document("explain", key, user)
    assert told["value"] is value
    assert [step["name"] for step in told["steps"] if step["decides"]] == [decides]
    [marked] = [line for line in typed(f"flags explain {key} {user}").splitlines() if "▸" in line]
    assert marked.startswith(f"▸  {decides} ")


@pytest.mark.usefixtures("shop")
def test_user_is_found_by_primary_key_before_username() -> None:
    User.objects.create(pk=42, username="1")
    User.objects.create(pk=43, username="77")
    assert document("explain", "dark_mode", "1")["user"] == {
        "pk": 1,
        "name": "alice",
        "by": "primary key",
    }
    by_name = {"pk": 43, "name": "77", "by": "username"}
    assert document("explain", "dark_mode", "77")["user"] == by_name


@pytest.mark.usefixtures("shop")
def test_primary_key_that_nobody_has_is_explained_with_a_note() -> None:
    status, out, err = flags("explain", "new_checkout", "3")
    assert status == 0
    assert out.startswith("answer\tnew_checkout is on for user 3.\n")
    assert err == "no user has the primary key 3; this is what one would get\n"


@pytest.mark.usefixtures("shop")
def test_user_whom_nobody_knows_is_told() -> None:
    told = "CommandError: no user has the primary key or username 'carol'\n"
    assert flags("explain", "new_checkout", "carol") == (1, "", told)


@pytest.mark.usefixtures("shop")
def test_flag_that_a_test_has_set_is_explained_so() -> None:
    with override_flag("summer_banner", True):
        told = document("explain", "summer_banner", "alice")
    assert told["value"] is True
    assert [step["why"] for step in told["steps"]] == ["set for this process by a test"]


@pytest.mark.django_db(transaction=True)
def test_explanation_is_of_the_database_as_it_is_now() -> None:
    open_shop()
    with live_engine(), transaction.atomic():
        FeatureFlag.objects.filter(key="new_checkout").update(rollout_percent=100)
        assert document("explain", "new_checkout", "bob")["value"] is True
        # This process hears of it when it is committed.
        assert flag_enabled("new_checkout", 2) is False


# value


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "text", ['"stripe"', "50", "-1.5", "true", "[]", '{"a": null}', '"Grüße 🥐"', '""', "1" * 40]
)
def test_value_that_is_set_is_got(text: str) -> None:
    assert flags("value", "set", "page_size", text).status == 0
    assert flags("value", "get", "page_size").out == f"{text}\n"
    assert document("value", "get", "page_size")["value"] == json.loads(text)
    assert KeyValueStore.objects.get(key="page_size").value == json.loads(text)


@pytest.mark.usefixtures("shop")
def test_bare_word_is_refused_with_what_to_type() -> None:
    status, out, err = flags("value", "set", "payment_gateway", "it's")
    assert (status, out) == (2, "")
    [retyped] = re.findall(r"a text is typed: manage\.py flags (.+)", err)
    assert flags(*shlex.split(retyped)).status == 0
    assert KeyValueStore.objects.get(key="payment_gateway").value == "it's"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("text", ["null", "NaN", "1e400"])
def test_json_that_is_no_value_is_refused(text: str) -> None:
    status, _, err = flags("value", "set", "page_size", text)
    assert status == 4
    assert err.startswith("CommandError: refused: ")
    assert KeyValueStore.objects.get(key="page_size").value == 20


@pytest.mark.usefixtures("shop")
def test_json_that_the_database_cannot_hold_is_refused() -> None:
    status, _, err = flags("value", "set", "page_size", r'"\u0000"')
    assert status == 4
    assert err.startswith("CommandError: refused: the database refuses it: unsupported Unicode")


@pytest.mark.usefixtures("shop")
def test_value_is_read_from_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO('{"open": 9}\n'))
    flags("value", "set", "page_size", "-")
    assert KeyValueStore.objects.get(key="page_size").value == {"open": 9}


@pytest.mark.usefixtures("shop")
def test_secret_is_shown_to_those_only_who_ask_for_it() -> None:
    listed = flags("value", "list").out + flags("value", "list", "--json").out
    told = flags("value", "set", "mail_password", '"hunter3"', "--json")
    for shown in (listed, told.out, told.err):
        assert "hunter" not in shown
    assert told.err == "mail_password: value •••••• → ••••••\n"
    assert flags("value", "get", "mail_password").out == '"hunter3"\n'


@pytest.mark.usefixtures("shop")
def test_list_of_values_in_a_pipe_has_json_between_the_tabs() -> None:
    rows = [line.split("\t")[:2] for line in flags("value", "list").out.splitlines()]
    assert rows == [
        ["mail_password", "••••••"],
        ["page_size", "20"],
        ["payment_gateway", '"stripe"'],
    ]


# status


@pytest.mark.usefixtures("shop")
def test_status_where_each_question_asks_the_database_counts_the_rows() -> None:
    assert "direct (each question asks the database)" in typed("flags status")
    told = document("status")
    assert (told["mode"], told["ready"], told["flags"], told["values"]) == ("direct", True, 5, 3)


# What goes wrong.

UNKNOWN_KEYS = [
    *("show new_chekout", "on new_chekout", "off new_chekout", "ramp new_chekout 5"),
    *("explain new_chekout 1", "explain new_chekout --anonymous"),
    *("value get payment_gatevay", "value set payment_gatevay 1"),
]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("line", UNKNOWN_KEYS)
def test_unknown_key_is_told_with_the_nearest(line: str) -> None:
    status, out, err = flags(*line.split(), "--json")
    assert (status, out) == (5, "")
    assert re.search(r"^CommandError: there is no .* did you mean '(new_ch|payment_ga)\w+'\?$", err)


@pytest.mark.usefixtures("shop")
def test_missing_table_is_told_with_what_makes_it() -> None:
    sql("ALTER TABLE flagstaff_featureflag RENAME TO gone")
    status, _, err = flags("off", "new_checkout")
    assert status == 1
    assert err == (
        'CommandError: relation "flagstaff_featureflag" does not exist; '
        '"manage.py migrate" makes the tables\n'
    )


@pytest.mark.usefixtures("shop")
def test_database_that_only_reads_refuses() -> None:
    sql("SET CONSTRAINTS ALL IMMEDIATE; SET TRANSACTION READ ONLY")
    assert flags("show", "new_checkout").status == 0
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    assert err.startswith("CommandError: this database user may not do that: cannot execute ")


@pytest.mark.usefixtures("shop")
def test_role_without_the_right_is_refused() -> None:
    sql("CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    sql("SET LOCAL ROLE reader")
    assert flags("show", "new_checkout").status == 0
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    told = "CommandError: this database user may not do that: permission denied for table"
    assert err.startswith(told)
