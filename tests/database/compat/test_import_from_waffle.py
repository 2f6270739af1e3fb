"""`manage.py flags import-from waffle`: what it writes, and what it says about each row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flagstaff import experiments
from flagstaff.changes import create
from flagstaff.compat.models import WaffleRow
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from tests.support.documents import database_state
from tests.support.sql import rows
from tests.support.terminals import document, run, typed
from tests.support.waffle_rows import flag, lines, notes, rows_of_dry_run, sample, statuses, switch

# Each change is a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


def stored(key: str) -> FeatureFlag:
    return FeatureFlag.objects.get(key=key)


def keys() -> set[str]:
    return set(FeatureFlag.objects.values_list("key", flat=True))


def test_import_writes_flags_switches_and_samples(alice: User) -> None:
    flag(percent=10, note="Ask ana", languages="de, fr").users.add(alice)
    switch(note="Elasticsearch")
    sample(percent=25)
    assert run("import-from waffle").status == 0
    checkout, search, audit = map(stored, ("checkout", "search", "audit"))
    assert (checkout.enabled, checkout.rollout_percent, checkout.bucket_by) == (True, 10, "visitor")
    assert checkout.rules == [
        {
            "name": "languages",
            "conditions": [{"attribute": "language", "operator": "in", "values": ["de", "fr"]}],
            "rollout_percent": 100,
        }
    ]
    assert (checkout.description, checkout.kind) == ("Ask ana", "release")
    assert [*checkout.allowed_users.all()] == [alice]
    assert (search.enabled, search.rollout_percent, search.kind) == (True, 100, "ops")
    assert search.description == "Elasticsearch"
    assert (audit.rollout_percent, audit.bucket_by) == (25, "waffle_sample")


def test_import_is_one_transaction_with_the_source_waffle(bob: User) -> None:
    flag()
    switch()
    assert run(f'import-from waffle --reason "leave waffle" --as {bob.pk}').status == 0
    events = flag_history()
    assert {event.key for event in events} == {"checkout", "search"}
    assert len({event.transaction_id for event in events}) == 1
    assert {(event.actor, event.source, event.reason) for event in events} == {
        (str(bob.pk), "waffle", "leave waffle")
    }


def test_report_has_each_row_once_and_adds_up() -> None:
    flag()
    flag("a b", percent="0.1", rollout=True)
    switch()
    ran = run("import-from waffle")
    assert [(line[1], line[2], line[3]) for line in lines(ran)] == [
        ("differs", "flag", "a b"),
        ("exact", "flag", "checkout"),
        ("exact", "switch", "search"),
    ]
    assert lines(ran)[0][-1] == (
        "its key is a_b; 0.1 % becomes 1 %; the bucket of the visitor decides in place of a random "
        "number and its cookie; rollout mode is not needed: a bucket never loses the flag as it "
        "grows"
    )
    *_, total, undo = ran.err.splitlines()
    assert total == "3 rows: 2 exact, 1 differ, 0 partly, 0 refused, 0 unchanged"
    assert undo.startswith("undo: python manage.py flags undo --transaction ")


def test_report_on_a_terminal_has_the_notes_below_the_rows(plain_terminal: None) -> None:
    flag(percent=5)
    screen = typed("flags import-from waffle")
    assert re.search(r"(?m)^\+ +differs +flag +checkout$", screen), screen
    assert "the bucket of the visitor decides" in " ".join(screen.split())


def test_import_without_rows_says_so() -> None:
    assert run("import-from waffle") == (
        0,
        "",
        "0 rows: 0 exact, 0 differ, 0 partly, 0 refused, 0 unchanged\n",
    )


def test_dry_run_writes_nothing_and_has_status_6() -> None:
    flag()
    ran = run("import-from waffle --dry-run")
    assert ran.status == 6
    assert lines(ran)[0][:4] == ["create", "exact", "flag", "checkout"]
    assert "CommandError: 1 change would be made" in ran.err
    assert (keys(), WaffleRow.objects.count()) == (set(), 0)
    assert run("import-from waffle").status == 0
    assert run("import-from waffle --dry-run").status == 0


def test_printed_command_keeps_all_options_and_refuses_another_plan(alice: User) -> None:
    flag("-x", percent=10)
    flag("other")
    options = "--only=-x --client-side --skip-refused --overwrite --skip-unknown"
    shown = run(f"import-from waffle {options} --dry-run").err
    [line] = re.findall(r"to apply exactly this: python manage.py flags (.+)", shown)
    create("_x")
    ran = run(line)
    assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    FeatureFlag.objects.all().delete()
    assert run(line).status == 0
    assert (keys(), stored("_x").client_side) == ({"_x"}, True)


def test_json_has_the_plan_the_rows_and_the_counts() -> None:
    flag("a b", percent=10)
    ran = run("import-from waffle --dry-run --json")
    shown = json.loads(ran.out)
    assert (ran.status, shown["dry_run"], shown["plan"] in ran.out) == (6, True, True)
    assert [change["key"] for change in shown["changes"]] == ["a_b"]
    [row] = shown["rows"]
    assert (row["status"], row["name"], row["key"]) == ("differs", "a b", "a_b")
    assert row["notes"][0] == "its key is a_b"
    assert shown["counts"] == {"exact": 0, "differs": 1, "partly": 0, "refused": 0, "unchanged": 0}
    done = document("import-from", "waffle")
    assert done["undo"][:2] == ["undo", "--transaction"]
    assert document("import-from", "waffle")["undo"] is None


def test_wait_after_an_import_is_reported() -> None:
    flag()
    assert "propagation" in document("import-from", "waffle", "--wait", "0")


def test_names_choose_rows_of_every_kind() -> None:
    flag("one")
    switch("two")
    sample("three")
    assert run("import-from waffle one --only two").status == 0
    assert keys() == {"one", "two"}
    ran = run("import-from waffle tree")
    assert ran.status == 1
    assert "waffle has no flag, switch or sample 'tree'; did you mean 'three'?" in ran.err


def test_client_side_is_written_to_all_only_with_the_option() -> None:
    flag()
    switch()
    run("import-from waffle checkout")
    assert stored("checkout").client_side is False
    assert run("import-from waffle --client-side").status == 0
    assert {row.client_side for row in FeatureFlag.objects.all()} == {True}
    # Without the option it stays.
    run("import-from waffle")
    assert {row.client_side for row in FeatureFlag.objects.all()} == {True}


def test_refused_row_stops_the_import_unless_it_is_skipped() -> None:
    flag("good")
    flag("same")
    switch("same")
    for line in ("import-from waffle", "import-from waffle --dry-run"):
        ran = run(line)
        assert ran.status == 4
        assert "nothing was written: 2 rows are refused; pass --skip-refused" in ran.err
        assert (keys(), WaffleRow.objects.count()) == (set(), 0)
    ran = run("import-from waffle --skip-refused")
    assert ran.status == 0
    assert "3 rows: 1 exact, 0 differ, 0 partly, 2 refused, 0 unchanged" in ran.err
    assert keys() == {"good"}


def test_refused_import_with_json_prints_the_rows() -> None:
    flag("same")
    switch("same")
    ran = run("import-from waffle --json")
    shown = json.loads(ran.out)
    assert (ran.status, shown["counts"]["refused"], shown["undo"]) == (4, 2, None)


def test_names_that_collide_are_refused_with_the_setting_to_add(settings: Any) -> None:
    flag("same")
    switch("same")
    sample("same")
    flag("a_b")
    flag("a b")
    found = notes()
    assert found["flag:same"] == (
        "its key same is also that of the switch 'same', the sample 'same'; "
        'add "switch:same": "same.switch" to FLAGSTAFF["WAFFLE"]["KEYS"]'
    )
    assert 'add "switch:same": "same.switch"' in found["switch:same"]
    assert 'add "sample:same": "same.sample"' in found["sample:same"]
    assert 'add "flag:a b": "a_b.flag"' in found["flag:a b"]
    assert 'add "flag:a b": "a_b.flag"' in found["flag:a_b"]
    names = {"switch:same": "same.switch", "sample:same": "same.sample", "flag:a b": "a_b.flag"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": names}}
    assert run("import-from waffle").status == 0
    assert keys() == {"same", "same.switch", "same.sample", "a_b", "a_b.flag"}


def test_chosen_name_that_collides_with_another_row_is_refused() -> None:
    flag("a_b")
    flag("a b")
    assert statuses("--only=a_b") == {"flag:a_b": "refused"}


def test_imported_row_keeps_its_key_when_another_row_collides_later() -> None:
    row = switch("a b", active=False)
    run("import-from waffle")
    flag("a_b")
    row.active = True
    row.save()
    assert run("import-from waffle --skip-refused").status == 0
    assert stored("a_b").enabled
    assert notes("--skip-refused") == {
        "switch:a b": "",
        "flag:a_b": "its key a_b is also that of the switch 'a b'; "
        'add "flag:a_b": "a_b.flag" to FLAGSTAFF["WAFFLE"]["KEYS"]',
    }


def test_key_of_an_experiment_is_refused() -> None:
    experiments.create("checkout", variants={"a": 50, "b": 50})
    flag()
    assert notes()["flag:checkout"] == (
        'its key checkout is that of an experiment; add "flag:checkout": "checkout.flag" to '
        'FLAGSTAFF["WAFFLE"]["KEYS"]'
    )


def test_name_that_cannot_be_a_key_is_refused() -> None:
    flag("")
    switch("ä/%:?")
    assert statuses() == {"flag:": "refused", "switch:ä/%:?": "exact"}
    assert rows_of_dry_run()["switch:ä/%:?"]["key"] == "ä____"


def test_flag_that_no_flag_can_hold_is_refused_with_the_problem(alice: User) -> None:
    flag("good")
    groups = [Group.objects.create(name=f"group {number:04}" * 12) for number in range(2_000)]
    flag("large").groups.add(*groups)
    found = rows_of_dry_run()
    assert (found["flag:good"]["status"], found["flag:large"]["status"]) == ("exact", "refused")
    assert found["flag:large"]["notes"][0].startswith("rules: ")


def test_unknown_users_are_refused_or_skipped(alice: User, bob: User) -> None:
    row = flag()
    row.users.add(alice, bob)
    # As if the users of waffle were in another database.
    rows("ALTER TABLE waffle_flag_users DISABLE TRIGGER ALL")
    rows("UPDATE waffle_flag_users SET user_id = 77 WHERE user_id = %s", bob.pk)
    assert notes() == {
        "flag:checkout": "no user has the primary key 77; pass --skip-unknown to skip them"
    }
    ran = run("import-from waffle --skip-unknown")
    assert (ran.status, "skipped users that do not exist: 77" in ran.err) == (0, True)
    assert [*stored("checkout").allowed_users.all()] == [alice]
    assert statuses("--skip-unknown") == {"flag:checkout": "unchanged"}
    rows("DELETE FROM waffle_flag_users")
    rows("ALTER TABLE waffle_flag_users ENABLE TRIGGER ALL")


def test_flag_that_exists_is_a_conflict_unless_it_is_equal() -> None:
    flag(percent=10)
    switch()
    create("checkout", enabled=True, rollout_percent=30, bucket_by="visitor")
    create("search", enabled=True, rollout_percent=100, kind="ops")
    before = database_state()
    found = rows_of_dry_run()
    assert (found["flag:checkout"]["status"], found["switch:search"]["status"]) == (
        "refused",
        "exact",
    )
    [note] = found["flag:checkout"]["notes"]
    assert note == (
        "there is another flag of this key: rollout is 30 % here, and 10 % in waffle; pass "
        "--overwrite to write what waffle has"
    )
    assert run("import-from waffle").status == 4
    assert database_state() == before
    assert run("import-from waffle --overwrite").status == 0
    assert stored("checkout").rollout_percent == 10
    assert WaffleRow.objects.count() == 2


def test_equal_flag_is_known_as_imported_without_a_change() -> None:
    row = switch()
    create("search", enabled=True, rollout_percent=100, kind="ops")
    ran = run("import-from waffle")
    assert (ran.status, "undo" in ran.err) == (0, False)
    assert WaffleRow.objects.get().key == "search"
    row.active = False
    row.save()
    assert run("import-from waffle").status == 0
    assert stored("search").enabled is False


def test_import_without_waffle_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "waffle"]
    ran = run("import-from waffle")
    assert ran.status == 1
    assert '"waffle" is not in INSTALLED_APPS, so there is nothing to read' in ran.err


def test_import_from_another_library_names_those_that_are_known() -> None:
    assert "'constance' (choose from 'waffle')" in run("import-from constance").err


def test_help_names_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import-from --help").status == 0
    shown = capsys.readouterr().out
    assert "KEYS" in shown
    assert "PERCENT_OF" in shown
    assert "FIELDS" in shown
