"""`manage.py flags import-waffle`: what it writes, and what it says about each row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flagstaff import changes, experiments
from flagstaff.contrib.waffle.importing import import_waffle
from flagstaff.models import FeatureFlag
from tests.support.concurrency import run_during
from tests.support.documents import database_state
from tests.support.history import flag_history
from tests.support.terminals import document, run, table_rows, typed, undo_of
from tests.support.waffle_rows import flag, notes, rows_of_dry_run, sample, statuses, switch

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
    assert run("import-waffle").status == 0
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
    assert run(f'import-waffle --reason "leave waffle" --as {bob.pk}').status == 0
    events = flag_history()
    assert {event.key for event in events} == {"checkout", "search"}
    assert len({event.transaction_id for event in events}) == 1
    assert {(event.actor, event.source, event.reason) for event in events} == {
        (str(bob.pk), "waffle", "leave waffle")
    }


def test_import_that_waits_for_another_writes_the_newest_rows() -> None:
    row = flag(percent=10)
    import_waffle()
    newer = type(row).objects.filter(pk=row.pk)
    run_during(import_waffle, import_waffle, lambda: newer.update(percent=20))
    assert stored("checkout").rollout_percent == 20


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
    assert document("import-waffle")["undo"] is None


def test_wait_after_an_import_is_reported() -> None:
    flag()
    assert "propagation" in document("import-waffle", "--wait", "0")


def test_undo_takes_the_import_back() -> None:
    flag()
    switch()
    assert run(undo_of(run("import-waffle").err)).status == 0
    assert keys() == set()


def test_refused_rows_are_left_out_and_the_status_is_4() -> None:
    flag("good")
    flag("same")
    switch("same")
    ran = run("import-waffle")
    assert (ran.status, "2 rows are refused" in ran.err) == (4, True)
    assert "3 rows: 1 exact, 0 differs, 0 lost, 2 refused" in ran.err
    assert keys() == {"good"}


def test_names_that_collide_are_refused_with_the_setting_to_add(settings: Any) -> None:
    flag("same")
    switch("same")
    flag("a_b")
    flag("a b")
    found = notes()
    assert found["switch:same"].startswith(
        'another row has its key same, too; add "switch:same": "same.switch"'
    )
    assert 'add "flag:a b": "a_b.flag"' in found["flag:a b"]
    names = {"switch:same": "same.switch", "flag:a b": "a_b.flag"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": names}}
    assert run("import-waffle").status == 0
    assert keys() == {"same", "same.switch", "a_b", "a_b.flag"}


def test_key_of_an_experiment_is_refused() -> None:
    experiments.create("checkout", variants={"a": 50, "b": 50})
    flag()
    assert notes() == {"flag:checkout": "checkout is the key of an experiment; choose another key"}


def test_name_that_cannot_be_a_key_is_refused() -> None:
    flag("")
    switch("ä/%:?")
    assert statuses() == {"flag:": "refused", "switch:ä/%:?": "exact"}
    assert rows_of_dry_run()["switch:ä/%:?"]["key"] == "ä____"


def test_flag_that_no_flag_can_hold_is_refused_with_the_problem() -> None:
    flag("good")
    groups = [Group.objects.create(name=f"group {number:04}" * 12) for number in range(2_000)]
    flag("large").groups.add(*groups)
    assert statuses() == {"flag:good": "exact", "flag:large": "refused"}
    assert "rules" in notes()["flag:large"]


def test_other_flag_with_the_key_is_refused_unless_it_is_equal() -> None:
    flag(percent=10)
    switch()
    changes.flags.create("checkout", enabled=True, rollout_percent=30, bucket_by="visitor")
    changes.flags.create("search", enabled=True, rollout_percent=100, kind="ops")
    assert statuses() == {"flag:checkout": "refused", "switch:search": "exact"}
    assert stored("checkout").rollout_percent == 30
    assert run("import-waffle --overwrite checkout").status == 0
    assert stored("checkout").rollout_percent == 10


def test_import_without_waffle_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "waffle"]
    ran = run("import-waffle")
    assert (ran.status, '"waffle" is not in INSTALLED_APPS' in ran.err) == (1, True)


def test_json_of_a_refused_import_is_complete() -> None:
    flag("same")
    switch("same")
    ran = run("import-waffle --json")
    assert (ran.status, json.loads(ran.out)["counts"]["refused"]) == (4, 2)
