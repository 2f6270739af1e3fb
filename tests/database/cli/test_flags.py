"""`manage.py flags list` and `show`, and what the verbs that change a flag print."""

import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from flagstaff._tables.user_lookup import UserTable
from flagstaff._text.times import local_time_text
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.forced_off import forced_off, forced_on
from tests.support.history import newest_entry
from tests.support.plans import rollout
from tests.support.shop import GERMAN, STAFF, Shop
from tests.support.sql import rows
from tests.support.stored import names_of_allowed
from tests.support.terminals import document, flags, run, table_rows, typed, undo_of
from tests.support.usage_rows import add_usage

pytestmark = pytest.mark.usefixtures("open_shop", "plain_terminal")

OWNED: dict[str, Any] = {
    "owner": "payments",
    "tags": ["checkout", "mobile"],
    "review_on": date(2027, 3, 1),
}


@pytest.fixture
def owned(open_shop: Shop) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(**OWNED)
    FeatureFlag.objects.filter(key="dark_mode").update(owner="search", tags=["mobile"])


def test_list_in_a_pipe_prints_tabs_below_the_names_of_the_fields() -> None:
    header, first, *_ = flags("list").out.splitlines()
    assert header.split("\t") == [
        *("key", "state", "rollout_percent", "allowed", "kind", "changed_at", "description")
    ]
    assert first.split("\t") == [
        *("beta_reviews", "allowed-users", "0", "2", "permission"),
        *("2026-11-20T08:17:00+00:00", "Reviews before everybody sees them"),
    ]


@pytest.mark.usefixtures("owned")
@pytest.mark.parametrize("in_sql", [True, False], ids=["in SQL", "in Python"])
@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ("--state off", ["summer_banner"]),
        ("--state all", ["dark_mode"]),
        ("--state allowed-users", ["beta_reviews"]),
        ("--state by-rules", []),
        ("--state rollout --state no-users", ["new_checkout", "search_v2"]),
        ("--owner pay", []),
        ("--owner ''", ["beta_reviews", "search_v2", "summer_banner"]),
        ("--tag mobile", ["dark_mode", "new_checkout"]),
        ("--tag mobile --tag checkout", ["new_checkout"]),
        ("--tag mobile --owner search", ["dark_mode"]),
        ("--tag mob", []),
        ("--tag mobile --state off", []),
    ],
)
def test_list_has_the_flags_that_its_options_select(
    options: str, keys: list[str], in_sql: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.features, "supports_json_field_contains", in_sql)
    ran = run(f"list {options}")
    assert [key for key, *_others in table_rows(ran.out)] == keys
    assert ran.err == ("" if keys else "no matching flags\n")


@pytest.mark.parametrize(
    ("model", "line", "message"),
    [
        (FeatureFlag, "list", "no flags\n"),
        (KeyValueStore, "value list", "no values\n"),
        (Segment, "segment list", "no segments\n"),
    ],
)
def test_list_without_rows_prints_a_message_to_stderr(model: Any, line: str, message: str) -> None:
    model.objects.all().delete()
    assert run(line) == (0, "", message)
    assert run(f"{line} --json").out == "[]\n"
    assert typed(f"flags {line}") == message


def test_list_on_a_terminal_has_the_columns_of_a_pipe_and_the_unit_in_the_state() -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(bucket_by="organization")
    lines = {line.split()[0]: line for line in typed("flags list").splitlines()}
    assert lines["KEY"].split()[3:] == ["ALLOWED", "KIND", "CHANGED", "DESCRIPTION"]
    assert "25 % by organization     25 %  " in lines["new_checkout"]


def test_show_lists_ten_allowed_users_or_all_as_json(shop: Shop) -> None:
    users = User.objects.bulk_create(User(pk=n + 100, username=f"user {n}") for n in range(1200))
    shop.flag("search_v2").allowed_users.set(users)
    assert "user 0, user 1," in typed("flags show search_v2")
    assert typed("flags show search_v2").endswith("user 9 and 1,190 more\n")
    shown = document("show", "search_v2")
    assert (shown["allowed"], len(shown["allowed_users"])) == (1200, 1200)
    assert shown["allowed_users"][0] == {"pk": 100, "name": "user 0"}


def test_flag_that_is_turned_on_for_no_users_says_what_to_type(shop: Shop) -> None:
    shop.flag("brand_new", enabled=False)
    hint = "give it to all users: python manage.py flags on brand_new --percent 100\n"
    ran = run("on brand_new")
    assert "On for no users: the rollout is 0 %" in ran.err
    assert hint in ran.err
    for line in ("rollout brand_new 5 --yes", "rollout brand_new 0"):
        assert hint not in run(line).err


@pytest.mark.usefixtures("owned")
def test_list_and_show_have_owner_tags_and_review_date() -> None:
    [record] = document("list", "--owner", "payments")
    expected = {**OWNED, "review_on": "2027-03-01"}
    for shown_flag in (record, document("show", "new_checkout")):
        assert {name: shown_flag[name] for name in OWNED} == expected
    shown = typed("flags show new_checkout")
    assert "tags             checkout, mobile\n" in shown
    assert "\ntags\tcheckout, mobile\n" in run("show new_checkout").out
    assert "review_on        2027-03-01\n" in shown


RULES = [{"conditions": [STAFF]}]
PARTLY = [*RULES, {"conditions": [GERMAN], "rollout_percent": 10}]
BY_RULES = "rules decide; on for 25 % of visitors if no rule matches."
FOR_OTHERS = "For all others, the rules decide; on for 25 % if no rule matches."
TO_ALL = "On for all users, and for everybody who is not logged in."
ALL_RULES = "On for all users: the rollout and all rules are at 100 %."
FIRST, OF_USERS = {"rules": RULES}, {"bucket_by": "user"}
FULL, LONG = {"rollout_percent": 100}, {"bucket_by": "x" * 41}
ORGANIZATION = {"bucket_by": "organization"}


@pytest.mark.parametrize(
    ("fields", "users", "state", "sentence"),
    [
        ({}, 0, "rollout", "On for 25 % of visitors."),
        ({}, 1, "rollout", "On for 25 % of visitors and 1 allowed user."),
        (LONG, 0, "rollout", f"On for 25 % (by {'x' * 23}…)."),
        (ORGANIZATION, 1, "rollout", "On for 25 % (by organization) and 1 allowed user."),
        (OF_USERS, 0, "rollout", "On for 25 % of all users."),
        (FULL, 1, "all", TO_ALL),
        ({"rollout_percent": 0}, 1, "allowed-users", "On for 1 allowed user only."),
        (FIRST | {"enabled": False}, 1, "off", "Off for all users."),
        (FIRST, 0, "by-rules", f"The {BY_RULES}"),
        (FIRST, 1, "by-rules", f"On for 1 allowed user. For all others, the {BY_RULES}"),
        (FIRST | OF_USERS, 1, "by-rules", f"On for 1 allowed user. {FOR_OTHERS}"),
        (FIRST | {"rollout_percent": 0}, 0, "by-rules", "The rules decide; off if no rule"),
        (FIRST | FULL, 0, "all", ALL_RULES),
        (FULL | {"rules": PARTLY}, 0, "by-rules", "The rules decide;"),
        ({"rules": {"a": 1}}, 0, "by-rules", "The rules decide;"),
    ],
)
def test_summary_and_state_say_who_has_the_flag(
    fields: dict[str, Any], users: int, state: str, sentence: str, shop: Shop
) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(**{"bucket_by": "visitor", **fields})
    if not users:
        shop.flag().allowed_users.clear()
    shown = document("show", "new_checkout")
    assert (shown["state"], shown["summary"][: len(sentence)]) == (state, sentence)
    assert typed("flags show new_checkout").startswith(sentence)
    assert run("show new_checkout").out.startswith(f"summary\t{sentence}")


@pytest.mark.parametrize(
    ("rules", "shown", "users"),
    [
        (PARTLY, "rule 1: 100 % if ", "2 of 2, without those selected only by country"),
        (RULES, "rule 1: 100 % if ", "2 of 2"),
        # Workers cannot read rules of another form.
        ({"a": 1}, '{"a": 1}', "not counted: its rules cannot be read"),
    ],
)
def test_show_on_a_terminal_has_the_rules_in_words_and_counts_the_users(
    rules: object, shown: str, users: str
) -> None:
    User.objects.filter(username="bob").update(is_staff=True)
    FeatureFlag.objects.filter(key="dark_mode").update(rules=rules)
    screen = typed("flags show dark_mode")
    assert shown in screen
    assert f"users with the flag  {users}\n" in screen
    [line] = [line for line in typed("flags list").splitlines() if line.startswith("dark_mode")]
    assert (" by rules  " in line) is (rules is not RULES)


def test_forced_on_flags_are_named_by_list_and_show() -> None:
    with forced_on(["dark_mode", "new_checkout"]), forced_off(["dark_mode"]):
        shown, err = typed("flags list"), flags("list").err
        summary, *_ = typed("flags show new_checkout").splitlines()
    assert "rollout 25 % (forced on)" in shown
    assert "forced on in this process by FLAGSTAFF_FORCE_ON: new_checkout\n" in err
    assert summary.endswith("In this process it is forced on by FLAGSTAFF_FORCE_ON.")


def test_forced_off_flags_are_named_by_list_show_and_on() -> None:
    here = "In this process it is forced off by FLAGSTAFF_FORCE_OFF."
    with forced_off(["new_checkout", "unknown"]):
        shown = typed("flags list")
        printed = [flag["key"] for flag in document("list") if flag["forced_off"]]
        err = flags("list").err
        summary, *_ = typed("flags show new_checkout").splitlines()
        ran = flags("on", "new_checkout")
    [line] = [line for line in shown.splitlines() if "(forced off)" in line]
    assert "rollout 25 % (forced off)" in line
    assert printed == ["new_checkout"]
    assert err == "forced off in this process by FLAGSTAFF_FORCE_OFF: new_checkout\n"
    assert summary == f"On for 25 % of all users and 1 allowed user. {here}"
    assert (ran.status, here in ran.err) == (0, True)


# Changes: tests/database/actions compares what they write with `flagstaff.changes`.


@pytest.mark.parametrize("percent", ["7", "07", "7%", "7 %"])
def test_rollout_accepts_percent_signs_and_zeros(percent: str) -> None:
    assert flags("rollout", "new_checkout", percent).status == 0
    assert rollout() == 7


CASE = "keys are case-sensitive: {} differs from {} only in case"


@pytest.mark.parametrize(
    ("lines", "printed"),
    [
        (["create banner", "delete banner --yes", "delete banner"], "banner: already deleted"),
        (["create NEW_CHECKOUT"], CASE.format("'NEW_CHECKOUT'", "'new_checkout'")),
        (
            ["create NEW_CHECKOUT", "create New_Checkout"],
            CASE.format("'New_Checkout'", "'NEW_CHECKOUT', 'new_checkout'"),
        ),
        (["unit new_checkout visitor"], "new_checkout: bucketing unit user → visitor"),
        (["value create PAGE_SIZE 0"], CASE.format("'PAGE_SIZE'", "'page_size'")),
        *[([f"value create a {text}"], f"a: created, value {text}") for text in ("0", "false")],
    ],
)
@pytest.mark.django_db(transaction=True)
def test_change_prints_what_follows_from_it(lines: list[str], printed: str) -> None:
    *before, last = [run(line).err.splitlines() for line in lines]
    assert printed in last
    assert not any(printed in shown for shown in before)


def test_delete_says_how_often_the_flag_was_evaluated() -> None:
    at = timezone.now() - timedelta(hours=1)
    rows("UPDATE flagstaff_usage SET hour = date_trunc('hour', %s), last_at = %s", at, at)
    for key, result in (("dark_mode", "bulk"), ("search_v2", "browsers")):
        rows("DELETE FROM flagstaff_usage WHERE key = %s", key)
        add_usage(key, result, 0)
    # The time zone of the terminal.
    with timezone.override("UTC"):
        last = local_time_text(at)
    run("create unused")
    assert "Evaluated: not since counting began." in run("delete unused --yes").err
    add_usage("", "report", 1, 40)
    for key, shown in {
        "new_checkout": f"Evaluated: 1,235 times in the last 30 days, last reported at {last}; in",
        "summer_banner": "Evaluated: not in the last 30 days.",
        "dark_mode": "served in bulk, which does not say whether the code uses it, last recorded",
        "search_v2": "served to browsers, last recorded at ",
    }.items():
        state, *facts = run(f"delete {key} --yes").err.splitlines()
        assert state.startswith(f"{key}: ")
        assert state.endswith(" → deleted")
        assert any(shown in line for line in facts)
        assert any(line.startswith(f"{key}: deleted") for line in facts)
    rows("ALTER TABLE flagstaff_usage RENAME TO gone")
    printed = run("delete beta_reviews --yes").err.splitlines()
    assert printed[:3] == [
        "beta_reviews: On for 2 allowed users only. → deleted",
        "After the deletion, the code uses its own default for “beta_reviews”.",
        "Evaluated: not known.",
    ]


@pytest.mark.django_db(transaction=True)  # Each command is a transaction of its own.
def test_off_of_several_flags_is_one_transaction_with_one_undo() -> None:
    enabled = FeatureFlag.objects.filter(enabled=True).values_list("key", flat=True)
    before, newest = {*enabled.all()}, newest_entry()
    printed = run("off new_checkout dark_mode dark_mode").err
    assert printed.splitlines()[:4] == [
        "new_checkout: turned off",
        "new_checkout: Off for all users.",
        "dark_mode: turned off",
        "dark_mode: Off for all users.",
    ]
    written = Change.objects.filter(id__gt=newest).values_list("transaction_id", flat=True)
    assert (len(written), len(set(written))) == (2, 1)
    assert {*enabled.all()} == before - {"new_checkout", "dark_mode"}
    assert run(undo_of(printed)).status == 0
    assert {*enabled.all()} == before
    ran = document("on", "summer_banner", "search_v2")
    changed = {change["key"]: change["changed"] for change in ran["changes"]}
    assert changed == {"summer_banner": True, "search_v2": False}
    assert ran["undo"][:1] == ["undo-transaction"]


@pytest.mark.usefixtures("owned")
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("--add-tag q3 --add-tag mobile", {"tags": ["checkout", "mobile", "q3"]}),
        ("--add-tag q3 --remove-tag mobile", {"tags": ["checkout", "q3"]}),
        ("--tag q3", {"tags": ["q3"]}),
        ('--owner "" --tag "" --review-on ""', {"owner": "", "tags": [], "review_on": None}),
    ],
)
def test_details_adds_removes_and_replaces_tags_and_empty_texts_clear_fields(
    options: str, changed: dict[str, Any], shop: Shop
) -> None:
    assert run(f"details new_checkout {options}").status == 0
    assert {name: getattr(shop.flag(), name) for name in OWNED} == OWNED | changed


def test_allow_and_disallow_take_primary_keys_and_usernames() -> None:
    ran = run("allow new_checkout 2 alice")
    assert ran.err.splitlines() == [
        "new_checkout: added 1 allowed user (bob)",
        f"undo: python manage.py flags undo new_checkout {flag_version('new_checkout')}",
        "On for 25 % of all users and 2 allowed users.",
        "new_checkout: 1 → 2 of 2 users.",
    ]
    again = run("allow new_checkout 2 alice")
    assert again.err.startswith("new_checkout: already up to date\n")
    removed = run("disallow new_checkout alice bob").err
    assert removed.startswith("new_checkout: removed 2 allowed users (alice, bob)\n")
    assert names_of_allowed("new_checkout") == []
    # Of a flag that is deleted also that it has none.
    assert document("delete", "new_checkout", "--dry-run")["old"]["allowed_users"] == []
    assert document("allow", "new_checkout", "bob")["new"] == {"allowed_users": [2]}


@pytest.mark.parametrize(
    ("username", "shown"), [("1", "7"), ("-rf", "7"), ("a\tb", "7"), ("Zoë O'Hara", "Zoë O'Hara")]
)
def test_user_whose_name_is_not_an_argument_is_shown_by_primary_key(
    username: str, shown: str
) -> None:
    User.objects.create(pk=7, username=username)
    printed = run("allow new_checkout 7").err
    assert printed.startswith(f"new_checkout: added 1 allowed user ({shown})\n")


def test_allow_by_a_role_that_may_not_read_usernames_shows_primary_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(UserTable, "unique_usernames", lambda *_: rows("SELECT 1 FROM missing"))
    printed = run("allow new_checkout bob").err
    assert printed.startswith("new_checkout: added 1 allowed user (2)\n")


@pytest.mark.parametrize(
    "text", ["alice\nbob\n", "alice\rbob\r", "id,name\n1,a\n\n2,b\n", '\ufeff"1"\r\n"bob"\r\n']
)
def test_allow_reads_users_from_a_file_or_the_standard_input(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "beta.csv"
    path.write_text(text, encoding="utf-8", newline="")
    skip = "--skip-unknown" if text.startswith("id") else ""
    assert run(f"allow new_checkout --file {path} {skip}").status == 0
    assert names_of_allowed("new_checkout") == ["alice", "bob"]
    monkeypatch.setattr("sys.stdin", io.StringIO("bob\n"))
    assert run("disallow new_checkout --file -").status == 0
    assert names_of_allowed("new_checkout") == ["alice"]


def test_unknown_users_are_named_together_and_skipped_on_demand() -> None:
    refused = run("allow new_checkout bob carol 77")
    assert (refused.status, names_of_allowed("new_checkout")) == (1, ["alice"])
    skip = "To skip unknown users, pass --skip-unknown.\n"
    message = "CommandError: No users have these primary keys or usernames: “carol”, “77”. "
    assert refused.err == f"{message}{skip}"
    message = "CommandError: No user has this primary key or username: “alcie”. "
    assert run("allow new_checkout alcie").err == f"{message}Did you mean “alice”? {skip}"
    assert run("allow new_checkout bob carol 77 --skip-unknown").status == 0
    assert names_of_allowed("new_checkout") == ["alice", "bob"]


def test_username_that_users_share_is_not_called_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserTable, "by_username", lambda *_arguments: ({}, {"alex"}))
    message = "Several users have this username, so write a primary key: “alex”. "
    assert message in run("allow new_checkout alex").err


@pytest.mark.django_db(transaction=True)  # The change is a transaction of its own.
def test_printed_undo_of_many_allowed_users_removes_them_all(tmp_path: Path) -> None:
    crowd = User.objects.bulk_create([User(username=f"guest{n}") for n in range(3000)])
    path = tmp_path / "crowd"
    path.write_text("\n".join(user.username for user in crowd))
    printed = run(f"allow new_checkout --file {path}").err
    assert printed.splitlines()[0].endswith(" and 2,990 more)")
    assert undo_of(printed) == f"undo new_checkout {flag_version('new_checkout')}"
    assert run(undo_of(printed)).status == 0
    assert names_of_allowed("new_checkout") == ["alice"]
