"""A second import from waffle: what changed there, what changed here, and what was undone."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff.changes import add_allowed_users, create, delete, set_rollout, undo, update
from flagstaff.compat import importing
from flagstaff.compat.models import WaffleRow
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from tests.support.sql import rows
from tests.support.terminals import document, run, undo_of
from tests.support.waffle_rows import flag, lines, notes, rows_of_dry_run, statuses, switch

# Each change is a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def row(alice: User) -> Any:
    """A flag of waffle for alice and 10 %, which was imported."""
    row = flag(percent=10)
    row.users.add(alice)
    assert run("import-from waffle").status == 0
    return row


def stored(key: str = "checkout") -> FeatureFlag:
    return FeatureFlag.objects.get(key=key)


def change(row: Any, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(row, name, value)
    row.save()


def names() -> set[str]:
    return set(stored().allowed_users.values_list("username", flat=True))


def test_second_import_writes_nothing(row: Any) -> None:
    entries, at = len(flag_history()), WaffleRow.objects.get().at
    ran = run("import-from waffle")
    assert (ran.status, ran.out) == (0, "")
    assert "1 row: 0 exact, 0 differ, 0 partly, 0 refused, 1 unchanged" in ran.err
    assert (len(flag_history()), WaffleRow.objects.get().at) == (entries, at)


def test_second_import_writes_only_what_changed_in_waffle(row: Any, bob: User) -> None:
    update("checkout", {"description": "Ours", "owner": "web"})
    change(row, percent=40)
    row.users.add(bob)
    *_, summary, note = lines(run("import-from waffle"))[0]
    assert summary == "rollout 10 → 40 %, added 1 allowed user (bob)"
    assert note.endswith("; changed here only, and kept: description")
    assert (stored().rollout_percent, stored().description) == (40, "Ours")
    assert names() == {"alice", "bob"}


def test_users_of_both_sides_are_merged(row: Any, alice: User, bob: User) -> None:
    carol = User.objects.create(username="carol")
    add_allowed_users("checkout", carol)
    row.users.remove(alice)
    row.users.add(bob)
    run("import-from waffle")
    assert names() == {"bob", "carol"}
    # A second import removes only users that came from waffle.
    row.users.clear()
    run("import-from waffle")
    assert names() == {"carol"}


def test_field_that_was_changed_here_only_is_kept_and_named(row: Any) -> None:
    set_rollout("checkout", 30)
    assert run("import-from waffle --dry-run").status == 0
    assert lines(run("import-from waffle"))[0] == [
        *("", "unchanged", "flag", "checkout", ""),
        "changed here only, and kept: rollout",
    ]
    assert run("import-from waffle --overwrite").status == 0
    assert stored().rollout_percent == 30


def test_field_that_was_changed_on_both_sides_is_a_conflict(row: Any, bob: User) -> None:
    set_rollout("checkout", 30)
    change(row, percent=40, note="Theirs")
    row.users.add(bob)
    ran = run("import-from waffle")
    assert ran.status == 4
    [[_, status, *_, note]] = lines(ran)
    assert status == "refused"
    assert note == (
        "rollout was changed here to 30 %, and in waffle to 40 %; pass --overwrite to write what "
        "waffle has"
    )
    assert (stored().rollout_percent, stored().description, names()) == (30, "", {"alice"})
    # Skipped, it stays a conflict.
    assert run("import-from waffle --skip-refused").status == 0
    assert run("import-from waffle").status == 4
    assert run("import-from waffle --overwrite").status == 0
    assert (stored().rollout_percent, stored().description) == (40, "Theirs")
    assert names() == {"alice", "bob"}
    assert statuses() == {"flag:checkout": "unchanged"}


def test_same_change_on_both_sides_is_no_conflict(row: Any) -> None:
    set_rollout("checkout", 40)
    change(row, percent=40)
    assert run("import-from waffle").status == 0
    assert statuses() == {"flag:checkout": "unchanged"}
    # The value of both sides is what was last written.
    change(row, percent=60)
    assert run("import-from waffle").status == 0
    assert stored().rollout_percent == 60


def test_flag_that_was_deleted_here_is_a_conflict(row: Any) -> None:
    delete("checkout")
    assert notes() == {
        "flag:checkout": "its flag was deleted here; delete it in waffle, too, or pass --overwrite "
        "to create it again"
    }
    assert run("import-from waffle").status == 4
    assert run("import-from waffle --overwrite").status == 0
    assert (stored().rollout_percent, names()) == (10, {"alice"})


def test_flag_of_another_row_with_the_key_is_a_conflict(row: Any) -> None:
    delete("checkout")
    create("checkout", enabled=True, rollout_percent=77)
    change(row, percent=40)
    assert run("import-from waffle").status == 4


def test_undone_import_is_written_again(row: Any) -> None:
    change(row, percent=40)
    undo_line = undo_of(run("import-from waffle").err)
    assert run(undo_line).status == 0
    assert stored().rollout_percent == 10
    assert lines(run("import-from waffle"))[0][:5] == [
        *("change", "differs", "flag", "checkout"),
        "rollout 10 → 40 %",
    ]
    assert statuses() == {"flag:checkout": "unchanged"}


def test_undone_creation_is_created_again(alice: User) -> None:
    flag(percent=10).users.add(alice)
    switch()
    for _ in range(2):
        ran = run("import-from waffle")
        assert (ran.status, [line[0] for line in lines(ran)]) == (0, ["create", "create"])
        assert run(undo_of(ran.err)).status == 0
        assert not FeatureFlag.objects.exists()
        assert WaffleRow.objects.count() == 2


def test_undone_users_are_written_again(row: Any, bob: User) -> None:
    row.users.add(bob)
    run("import-from waffle")
    undo("checkout")
    assert names() == {"alice"}
    run("import-from waffle")
    assert names() == {"alice", "bob"}


def test_undone_undo_leaves_nothing_to_write(row: Any) -> None:
    change(row, percent=40)
    undone = run(undo_of(run("import-from waffle").err))
    assert run(undo_of(undone.err)).status == 0
    assert statuses() == {"flag:checkout": "unchanged"}


def test_undone_field_that_was_changed_later_is_kept(row: Any) -> None:
    change(row, percent=40, note="Theirs")
    run(undo_of(run("import-from waffle").err))
    set_rollout("checkout", 30)
    assert lines(run("import-from waffle"))[0][4] == 'description "" → "Theirs"'
    assert stored().rollout_percent == 30


def test_undo_of_a_change_that_was_made_here_is_no_undo_of_the_import(row: Any) -> None:
    set_rollout("checkout", 30)
    set_rollout("checkout", 50)
    undo("checkout")
    assert notes() == {"flag:checkout": "changed here only, and kept: rollout"}


def test_flag_that_was_deleted_after_an_undo_is_a_conflict(row: Any, bob: User) -> None:
    row.users.add(bob)
    run("import-from waffle")
    undo("checkout")
    delete("checkout")
    assert statuses() == {"flag:checkout": "refused"}


def test_without_history_an_undone_field_is_a_change_that_was_made_here(row: Any) -> None:
    change(row, percent=40)
    run(undo_of(run("import-from waffle").err))
    rows("DELETE FROM flagstaff_change")
    assert notes() == {"flag:checkout": "changed here only, and kept: rollout"}


def test_row_that_waffle_has_no_more_is_reported_and_stays(row: Any) -> None:
    switch()
    run("import-from waffle")
    row.delete()
    line = (
        "deleted in waffle: the flag 'checkout'; delete it here with "
        '"manage.py flags delete checkout"'
    )
    ran = run("import-from waffle")
    assert (ran.status, ran.err.splitlines()[0]) == (0, line)
    assert "1 row: 0 exact, 0 differ, 0 partly, 0 refused, 1 unchanged" in ran.err
    gone = {"kind": "flag", "name": "checkout", "key": "checkout"}
    assert document("import-from", "waffle")["deleted_in_waffle"] == [gone]
    assert line not in run("import-from waffle search").err
    assert line in run("import-from waffle checkout").err
    delete("checkout")
    assert line not in run("import-from waffle").err


def test_row_that_was_deleted_on_both_sides_may_be_created_again(row: Any) -> None:
    row.delete()
    delete("checkout")
    assert run("import-from waffle").status == 0
    assert not WaffleRow.objects.exists()
    flag(percent=20)
    assert run("import-from waffle").status == 0
    assert stored().rollout_percent == 20


def test_row_with_another_key_is_imported_again(row: Any, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": {"flag:checkout": "pay"}}}
    assert rows_of_dry_run()["flag:checkout"]["action"] == "create"
    run("import-from waffle")
    assert stored("pay").rollout_percent == 10
    assert WaffleRow.objects.get().key == "pay"


def test_other_unit_of_percentages_is_written(row: Any, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"PERCENT_OF": {"checkout": "users"}}}
    run("import-from waffle")
    assert stored().bucket_by == "user"


def test_problem_of_the_mirror_ends_with_the_import(row: Any) -> None:
    WaffleRow.objects.update(problem="timeout")
    run("import-from waffle")
    assert WaffleRow.objects.get().problem == ""


def test_change_that_was_mirrored_while_the_import_waited_stays(
    row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(keys: Any, *, lock: bool = False) -> Any:
        if lock:
            # The mirror has locked the flag before.
            change(row, percent=40)
            set_rollout("checkout", 40)
            WaffleRow.objects.update(fields={**WaffleRow.objects.get().fields, **forty})
        return read_flags(keys, lock=lock)

    forty, read_flags = {"rollout_percent": 40}, importing._read_flags
    monkeypatch.setattr(importing, "_read_flags", lock)
    assert run("import-from waffle").status == 0
    assert stored().rollout_percent == 40


def test_import_that_fails_stores_nothing(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    before = WaffleRow.objects.values().get()
    change(row, percent=40)
    monkeypatch.setattr("flagstaff.compat.importing._store", fail)
    with pytest.raises(RuntimeError):
        run("import-from waffle")
    assert (stored().rollout_percent, WaffleRow.objects.values().get()) == (10, before)
