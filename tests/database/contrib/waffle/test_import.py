"""`manage.py flags import-waffle`: what becomes of each row of waffle, and what is said of it."""

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import waffle
from django.contrib.auth.models import Group, User
from django.db import models
from waffle.models import Flag

from flagstaff import changes, experiments, flag_enabled
from flagstaff.models import FeatureFlag
from tests.support.conditions import condition
from tests.support.documents import database_state
from tests.support.terminals import document, ok, run, table_rows, typed
from tests.support.waffle_rows import (
    flag,
    notes,
    rows_of_dry_run,
    sample,
    statuses,
    switch,
    use_flag_model,
)

LANGUAGES = {
    "name": "languages",
    "conditions": [{"attribute": "language", "operator": "in", "values": ["de", "fr"]}],
    "rollout_percent": 100,
}
#: A flag of waffle that tests and staff have, and another 20 %.
COLUMNS: dict[str, Any] = {"percent": 20, "testing": True, "staff": True, "note": "Ana"}


def attributes(key: str) -> list[str]:
    """The attributes that the rules of a flag read, in order."""
    rules = FeatureFlag.objects.get(key=key).rules
    return [rule["conditions"][0]["attribute"] for rule in rules]


def keys() -> set[str]:
    return set(FeatureFlag.objects.values_list("key", flat=True))


@pytest.mark.parametrize(
    ("create", "status", "fields"),
    [
        (
            lambda: flag(percent=10, note="Ask ana", languages="de, fr"),
            "differs",
            {
                "enabled": True,
                "rollout_percent": 10,
                "bucket_by": "visitor",
                "rules": [LANGUAGES],
                "description": "Ask ana",
                "kind": "release",
            },
        ),
        (
            lambda: switch(note="Elastic"),
            "exact",
            {"enabled": True, "rollout_percent": 100, "kind": "ops", "description": "Elastic"},
        ),
        (
            lambda: sample(percent=25),
            "exact",
            {"rollout_percent": 25, "bucket_by": "waffle_sample"},
        ),
        (lambda: sample(percent="100.0"), "exact", {"enabled": True, "rollout_percent": 100}),
        # "Everyone" decides. The rest is kept, except the rules of tests beside "Yes".
        (
            lambda: flag(everyone=True, **COLUMNS),
            "exact",
            {"enabled": True, "rollout_percent": 100, "description": "Ana"},
        ),
        (
            lambda: flag(everyone=False, **COLUMNS),
            "exact",
            {"enabled": False, "rollout_percent": 20, "description": "Ana"},
        ),
    ],
)
def test_row_becomes_a_flag(
    create: Callable[[], Any], status: str, fields: dict[str, Any], alice: User
) -> None:
    row = create()
    users = [alice] if isinstance(row, Flag) else []
    if users:
        row.users.set(users)
    assert [*statuses().values()] == [status]
    ok("import-waffle")
    imported = FeatureFlag.objects.get()
    assert {name: getattr(imported, name) for name in fields} == fields
    assert [*imported.allowed_users.all()] == users


def test_every_combination_of_columns_is_imported_with_its_status(alice: User) -> None:
    beta = Group.objects.create(name="beta")
    switches = product([False, True], repeat=3)
    everyone_and_percent = product([None, True, False], [None, "0.0", "33.3"])
    new, listed, expected = [], set(), {}
    combinations = product(everyone_and_percent, switches, ["", "de,"])
    for number, ((everyone, percent), (testing, staff, is_listed), languages) in enumerate(
        combinations
    ):
        columns: dict[str, Any] = {"everyone": everyone, "percent": percent, "testing": testing}
        columns |= {"staff": staff, "languages": languages, "rollout": number % 3 == 0}
        name = f"flag_{number}"
        new.append(Flag(name=name, **columns))
        listed |= {name} if is_listed else set()
        has_random_number = everyone is None and percent == "33.3"
        loses_test = everyone is None and testing and is_listed
        expected[name] = "differs" if has_random_number or loses_test else "exact"
    chosen = [row for row in Flag.objects.bulk_create(new) if row.name in listed]
    beta_flags: Any = beta.flag_set
    alice_flags: Any = alice.flag_set
    beta_flags.add(*chosen)
    alice_flags.add(*chosen)
    report = document("import-waffle")
    assert {row["name"]: row["status"] for row in report["rows"]} == expected
    counts = Counter(expected.values())
    assert report["counts"] == {
        "exact": counts["exact"],
        "differs": counts["differs"],
        **dict.fromkeys(("lost", "refused"), 0),
    }
    assert FeatureFlag.objects.count() == len(expected)
    assert {row["action"] for row in document("import-waffle")["rows"]} == {""}


def test_rules_are_in_the_order_of_waffle() -> None:
    row = flag(testing=True, superusers=True, staff=True, authenticated=True, languages="de, fr ,")
    row.groups.add(Group.objects.create(name="beta"), Group.objects.create(name="alpha"))
    for everyone in (True, False):
        flag(f"everyone {everyone}", everyone=everyone, testing=True, staff=True)
    ok("import-waffle")
    assert attributes("checkout") == [
        *("waffle_test", "waffle_test", "language"),
        *("is_authenticated", "is_staff", "is_superuser", "groups"),
    ]
    rules = FeatureFlag.objects.get(key="checkout").rules
    assert rules[-1]["conditions"][0]["values"] == ["alpha", "beta"]
    assert [rule["rollout_percent"] for rule in rules[:2]] == [100, 0]
    assert attributes("everyone_True") == ["is_staff"]
    assert attributes("everyone_False") == ["waffle_test", "waffle_test", "is_staff"]


@pytest.mark.parametrize(
    ("percent", "rollout"),
    [("0.0", 0), ("0.1", 1), ("0.4", 1), ("33.5", 34), ("99.4", 99), ("99.9", 99)],
)
def test_percentage_is_rounded_but_not_to_0_or_100(
    percent: str, rollout: int, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"PERCENT_OF": "users"}}
    flag(percent=percent)
    sample(percent=percent)
    ok("import-waffle")
    rollouts = FeatureFlag.objects.order_by("key").values_list("rollout_percent", "bucket_by")
    assert [*rollouts] == [(rollout, "waffle_sample"), (rollout, "user")]


def test_report_has_each_row_once_and_adds_up() -> None:
    flag()
    flag("a b", percent="0.1", rollout=True)
    switch()
    ran = run("import-waffle")
    assert ran.out.startswith("action\tstatus\tkind\tname\tsummary\tnotes\n")
    assert [line[:4] for line in table_rows(ran.out)] == [
        ["create", "differs", "flag", "a b"],
        ["create", "exact", "flag", "checkout"],
        ["create", "exact", "switch", "search"],
    ]
    assert "0.1 % becomes 1 %; the bucket of the visitor decides" in notes()["flag:a b"]
    assert table_rows(ran.out)[0][-1] == notes()["flag:a b"]
    total, undo = ran.err.splitlines()
    assert total == "3 rows: 2 exact, 1 differs, 0 lost, 0 refused"
    assert undo.startswith("undo: python manage.py flags undo-transaction ")


def test_report_on_a_terminal_has_the_notes_below_the_rows(plain_terminal: None) -> None:
    flag(percent=5)
    screen = typed("flags import-waffle")
    assert re.search(r"(?m)^create +differs +flag +checkout$", screen), screen
    assert "the bucket of the visitor decides" in " ".join(screen.split())


def test_dry_run_writes_nothing_and_shows_the_rows() -> None:
    flag()
    before = database_state()
    ran = run("import-waffle --dry-run")
    assert (ran.status, table_rows(ran.out)[0][:4]) == (0, ["create", "exact", "flag", "checkout"])
    assert "dry run: nothing was written" in ran.err
    assert database_state() == before


def test_json_has_the_rows_the_counts_and_the_undo() -> None:
    flag("a b", percent=10)
    shown = document("import-waffle")
    [row] = shown["rows"]
    assert (row["status"], row["name"], row["key"]) == ("differs", "a b", "a_b")
    assert row["notes"][0] == "its key is a_b"
    assert shown["counts"] == {"exact": 0, "differs": 1, "lost": 0, "refused": 0}
    assert shown["undo"][:1] == ["undo-transaction"]
    again = document("import-waffle", "--wait", "0")
    assert again["undo"] is None
    assert "propagation" in again


@pytest.mark.parametrize(
    ("create", "note", "key"),
    [
        (
            lambda: (experiments.create("checkout"), flag()),
            "checkout is the key of an experiment; choose another key",
            "checkout",
        ),
        (lambda: flag(""), "", ""),
        (
            lambda: flag().groups.add(
                *Group.objects.bulk_create(
                    Group(name=f"group {number:04}" * 12) for number in range(2_000)
                )
            ),
            "rules",
            "checkout",
        ),
        (
            lambda: (changes.flags.create("checkout", rollout_percent=30), flag(percent=10)),
            "pass --overwrite checkout",
            "checkout",
        ),
    ],
    ids=["key of an experiment", "no name", "more rules than a flag can hold", "other flag"],
)
def test_row_that_cannot_be_a_flag_is_refused_and_the_others_are_imported(
    create: Callable[[], Any], note: str, key: str
) -> None:
    create()
    before = keys()
    flag("good")
    assert statuses() == {"flag:good": "exact", f"flag:{key}": "refused"}
    assert note in notes()[f"flag:{key}"]
    ran = run("import-waffle --json")
    assert (ran.status, json.loads(ran.out)["counts"]["refused"]) == (4, 1)
    assert keys() == {*before, "good"}


def test_names_that_collide_are_refused_with_the_setting_to_add(settings: Any) -> None:
    flag("same")
    switch("same")
    flag("a_b")
    flag("a b")
    notes_by_row = notes()
    assert notes_by_row["switch:same"].startswith(
        'another row has its key same, too; add "switch:same": "same.switch"'
    )
    assert 'add "flag:a b": "a_b.flag"' in notes_by_row["flag:a b"]
    ran = run("import-waffle")
    assert (ran.status, "4 rows are refused" in ran.err) == (4, True)
    assert "4 rows: 0 exact, 0 differs, 0 lost, 4 refused" in ran.err
    names = {"switch:same": "same.switch", "flag:a b": "a_b.flag"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": names}}
    assert run("import-waffle").status == 0
    assert keys() == {"same", "same.switch", "a_b", "a_b.flag"}


def test_flag_with_the_key_of_a_row_is_overwritten_only_if_the_line_says_so() -> None:
    flag(percent=10)
    switch()
    changes.flags.create("checkout", enabled=True, rollout_percent=30, bucket_by="visitor")
    changes.flags.create("search", enabled=True, rollout_percent=100, kind="ops")
    assert statuses() == {"flag:checkout": "refused", "switch:search": "exact"}
    ok("import-waffle --overwrite checkout")
    assert FeatureFlag.objects.get(key="checkout").rollout_percent == 10


def test_import_without_waffle_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "waffle"]
    ran = run("import-waffle")
    assert (ran.status, '"waffle" is not in INSTALLED_APPS' in ran.err) == (1, True)


def test_columns_of_an_own_model_are_named_as_lost_unless_they_are_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = use_flag_model(
        monkeypatch,
        "RegionFlag",
        region=models.CharField(max_length=10, default=""),
        tier=models.IntegerField(default=1),
        changed=models.DateTimeField(auto_now=True),
    )
    model.objects.create(name="plain")
    model.objects.create(name="lost", tier=2)
    assert statuses() == {"flag:plain": "exact", "flag:lost": "lost"}
    assert notes()["flag:lost"] == "the column tier is lost; evaluate it in your code"
    assert "2 rows: 1 exact, 0 differs, 1 lost, 0 refused" in run("import-waffle").err


@pytest.mark.parametrize("has_code", [False, True])
def test_objects_of_an_own_model_become_a_rule_and_the_note_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch, settings: Any, *, has_code: bool
) -> None:
    code = {"is_active_for_user": lambda *_: True} if has_code else {}
    sites = models.ManyToManyField(Group, related_name="+")
    model = use_flag_model(monkeypatch, "SiteFlag", sites=sites, **code)
    red = Group.objects.create(name="red")
    for name, everyone in (("beta", None), ("killed", False)):
        model.objects.create(name=name, everyone=everyone).sites.add(red)
    passed = (
        "sites becomes a rule: let the function of ATTRIBUTES return 'sites', or pass it in "
        '"context": the primary keys of auth.Group; for names and counts, add '
        "{'name': 'sites', 'model': 'auth.Group', 'path': '…'} to ATTRIBUTES"
    )
    assert notes()["flag:beta"].startswith(passed)
    assert ("then remove is_active_for_user() of" in notes()["flag:beta"]) is has_code
    # An attribute that holds these objects already.
    declared = {"name": "teams", "model": "auth.Group", "path": "groups"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": [declared]}
    ok("import-waffle")
    flag = FeatureFlag.objects.get(key="beta")
    [of_sites] = [rule for rule in flag.rules if rule["name"] == "sites"]
    assert of_sites["conditions"] == [condition("teams", "in", red.pk)]
    assert flag_enabled("beta", context={"teams": [red.pk]})
    assert not flag_enabled("beta", context={"teams": [red.pk + 1]})
    assert not flag_enabled("killed", context={"teams": [red.pk]})


@pytest.mark.parametrize("everyone", [None, True, False])
@pytest.mark.parametrize("method", ["is_active", "is_active_for_user", "_get_user_ids"])
def test_row_of_a_model_with_own_code_is_imported_as_kill_switch(
    method: str, everyone: bool | None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = use_flag_model(monkeypatch, f"Flag{method}", **{method: lambda *_: True})
    row = model.objects.create(name="checkout", everyone=everyone, percent=20, note="Ana")
    row.users.add(alice)
    [note] = rows_of_dry_run()["flag:checkout"]["notes"]
    assert note == f"{method}() of common.Flag{method} decides, unless the flag is off here"
    assert run("import-waffle").status == 0
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent, flag.rules) == (True, 0, [])
    assert (flag.kind, flag.description, flag.allowed_users.count()) == ("ops", "Ana", 0)


def test_import_leaves_killed_flag_of_own_code_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_flag_model(monkeypatch, "OwnFlag", is_active=lambda *_: True)
    model.objects.create(name="checkout", everyone=True)
    assert run("import-waffle").status == 0
    changes.flags.disable("checkout")
    model.objects.update(percent=50)
    assert run("import-waffle").status == 0
    assert not FeatureFlag.objects.get().enabled


def test_row_without_a_column_of_waffle_5_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As with an old version, whose abstract class does not have it.
    model = use_flag_model(monkeypatch, "OldFlag", languages=None)
    model.objects.create(name="checkout")
    assert notes() == {"flag:checkout": "its table lacks the column languages of django-waffle 5"}
    assert run("import-waffle").status == 4


@pytest.mark.parametrize(
    ("version", "ignored"),
    [("3.0.0", "'Everyone',"), ("4.0.0", "'Everyone',"), ("4.2.0", "'Everyone: No',")],
)
def test_older_waffle_is_imported_with_a_warning(
    version: str, ignored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag()
    assert "differs from version 5" not in run("import-waffle").err
    monkeypatch.setattr(waffle, "__version__", version)
    ran = run("import-waffle")
    assert (ran.status, f"waffle {version} differs from version 5" in ran.err) == (0, True)
    assert f"is_active_for_user() ignores {ignored}" in ran.err
