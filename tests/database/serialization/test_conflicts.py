"""Imports beside other changes: versions, expected plans, and locks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.utils.translation import override

from flagstaff import changes
from flagstaff.exceptions import ConflictError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import versions_of
from tests.support.concurrency import run_during
from tests.support.documents import (
    EDITED,
    database_state,
    dry_run,
    export_text,
    import_text,
    summaries,
)
from tests.support.history_fixtures import undo_transaction

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)


def test_newer_change_is_not_overwritten(open_shop: None) -> None:
    exported = export_text(versions=True)
    edited = exported.replace('"rollout_percent": 25', '"rollout_percent": 30')
    changes.flags.set_rollout("new_checkout", 40)
    changes.flags.set_rollout("dark_mode", 99)
    before = database_state()
    for attempt in (dry_run, import_text):
        with pytest.raises(ConflictError) as caught:
            attempt(edited)
        assert "new_checkout has version" in str(caught.value)
        assert "dark_mode has version" in str(caught.value)
    assert database_state() == before
    import_text(edited, ignore_versions=True)
    assert database_state()[0]["new_checkout"]["rollout_percent"] == 30


def test_change_during_the_export_is_in_the_file(
    open_shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_first(kind: Kind, pks: Iterable[Any]) -> dict[str, int]:
        if database_state()[0]["new_checkout"]["rollout_percent"] != 60:
            changes.flags.set_rollout("new_checkout", 60)
        return versions_of(kind, pks)

    monkeypatch.setattr("flagstaff.serialization.versions_of", change_first)
    exported = export_text(versions=True)
    monkeypatch.undo()
    assert not dry_run(exported).changed


def test_newer_change_of_an_unchanged_flag_is_no_conflict(open_shop: None) -> None:
    exported = export_text(keys=["new_checkout", "page_size"], versions=True)
    edited = exported.replace('"rollout_percent": 25', '"rollout_percent": 30')
    changes.flags.set_rollout("dark_mode", 99)
    assert len(import_text(edited).changed) == 1
    assert import_text(edited).changed == {}


def test_deleted_flag_is_a_conflict(open_shop: None) -> None:
    exported = export_text(keys=["dark_mode"], versions=True)
    changes.flags.delete("dark_mode")
    with pytest.raises(ConflictError, match=r"dark_mode has version \d+ in the file, but does not"):
        import_text(exported)


def test_import_with_an_expected_plan_refuses_another(open_shop: None) -> None:
    edited = EDITED.replace(", pk: 3", "")
    expected = dry_run(edited).plan
    changes.flags.set_rollout("new_checkout", 50)
    before = database_state()
    with pytest.raises(ConflictError, match=f"not {expected}, because"):
        import_text(edited, expect_plan=expected)
    assert database_state() == before
    new = dry_run(edited).plan
    assert import_text(edited, expect_plan=new).plan == new


def test_fingerprint_is_the_same_in_all_languages(open_shop: None) -> None:
    edited = EDITED.replace(", pk: 3", "")
    expected = dry_run(edited)
    with override("de"):
        planned = dry_run(edited)
        assert "angelegt, an, " in summaries(planned)["brand_new"]
        assert planned.plan == expected.plan
        import_text(edited, expect_plan=expected.plan)


@COMMITTED
def test_import_with_versions_waits_for_a_change_and_is_refused(open_shop: None) -> None:
    edited = export_text(versions=True).replace('"rollout_percent": 25', '"rollout_percent": 30')
    with pytest.raises(ConflictError, match=r"new_checkout has version .*; export again, or pass"):
        run_during(
            lambda: changes.flags.set_rollout("new_checkout", 40), lambda: import_text(edited)
        )
    assert database_state()[0]["new_checkout"]["rollout_percent"] == 40


@COMMITTED
def test_import_without_versions_waits_for_a_change_and_is_refused(open_shop: None) -> None:
    text = "flagstaff: 1\nflags: {new_checkout: {rollout_percent: 30}}"
    with pytest.raises(ConflictError, match=r"new_checkout has changed .* run it again"):
        run_during(lambda: changes.flags.set_rollout("new_checkout", 40), lambda: import_text(text))
    assert summaries(import_text(text)) == {"new_checkout": "rollout 40 → 30 %"}


@COMMITTED
def test_undo_of_an_import_waits_for_a_change_and_is_refused(open_shop: None) -> None:
    imported = import_text(
        "flagstaff: 1\nflags: {dark_mode: {enabled: false}, search_v2: {rollout_percent: 5}}"
    )
    [first, *_] = imported.changed.values()
    change = first.version
    assert change
    with pytest.raises(ConflictError, match="search_v2: rollout was changed again"):
        run_during(
            lambda: changes.flags.set_rollout("search_v2", 40), lambda: undo_transaction(change)
        )
    assert database_state()[0]["dark_mode"]["enabled"] is False


@COMMITTED
def test_imports_of_the_same_flags_do_not_deadlock(open_shop: None) -> None:
    one = "flagstaff: 1\nflags: {beta_reviews: {enabled: false}, search_v2: {enabled: false}}"
    other = "flagstaff: 1\nflags: {search_v2: {kind: release}, beta_reviews: {kind: ops}}"
    with pytest.raises(ConflictError, match="beta_reviews has changed while the import ran"):
        run_during(lambda: import_text(one), lambda: import_text(other))
    import_text(other)
    beta, search = (database_state()[0][key] for key in ("beta_reviews", "search_v2"))
    assert (beta["enabled"], beta["kind"]) == (False, "ops")
    assert (search["enabled"], search["kind"]) == (False, "release")


def test_key_is_passed_from_a_flag_to_a_value_in_one_import(open_shop: None) -> None:
    text = "flagstaff: 1\nflags: {}\nvalues: {dark_mode: {value: 3}}"
    import_text(text, delete_missing=True)
    assert database_state() == ({}, {"dark_mode": ("3", "", False)})
