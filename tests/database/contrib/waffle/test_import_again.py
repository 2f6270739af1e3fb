"""Imports from waffle in the history: one transaction, its undo, and what later ones write."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from waffle.models import Flag

from flagstaff import changes
from flagstaff.contrib.waffle.importing import import_waffle
from flagstaff.models import FeatureFlag
from tests.support.concurrency import run_during
from tests.support.history import flag_history
from tests.support.sql import rows
from tests.support.stored import stored_flag
from tests.support.terminals import ok, run, undo_of
from tests.support.waffle_rows import flag, notes, rows_of_dry_run, statuses, switch

# Each change is a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def row(alice: User) -> Any:
    """A flag of waffle for alice and 10 %, which was imported."""
    row = flag(percent=10)
    row.users.add(alice)
    ok("import-waffle")
    return row


def test_import_is_one_transaction_with_the_source_waffle_that_is_undone(bob: User) -> None:
    flag()
    switch()
    undo = undo_of(ok(f'import-waffle --reason "leave waffle" --as {bob.pk}').err)
    events = flag_history()
    assert {event.key for event in events} == {"checkout", "search"}
    assert len({event.transaction_id for event in events}) == 1
    assert {(event.actor, event.source, event.reason) for event in events} == {
        (str(bob.pk), "waffle", "leave waffle")
    }
    ok(undo)
    assert not FeatureFlag.objects.exists()


def test_import_that_waits_for_another_writes_the_newest_rows(row: Any) -> None:
    newer = Flag.objects.filter(pk=row.pk)
    run_during(import_waffle, import_waffle, lambda: newer.update(percent=20))
    assert stored_flag("checkout").rollout_percent == 20


def test_second_import_writes_nothing_without_a_change(row: Any) -> None:
    entries = len(flag_history())
    ok("import-waffle")
    assert len(flag_history()) == entries
    assert rows_of_dry_run()["flag:checkout"]["action"] == ""


def test_second_import_writes_what_changed_in_waffle(row: Any, alice: User, bob: User) -> None:
    Flag.objects.update(percent=40)
    row.users.set([bob])
    ok("import-waffle")
    checkout = stored_flag("checkout")
    assert (checkout.rollout_percent, [*checkout.allowed_users.all()]) == (40, [bob])
    Flag.objects.update(everyone=True)
    ok("import-waffle")
    assert stored_flag("checkout").rollout_percent == 100


def test_killed_flag_stays_off_after_a_second_import(row: Any) -> None:
    changes.flags.disable("checkout")
    Flag.objects.update(percent=40)
    ran = run("import-waffle")
    checkout = stored_flag("checkout")
    assert (ran.status, checkout.enabled, checkout.rollout_percent) == (4, False, 10)
    assert "1 row: 0 exact, 0 differs, 0 lost, 1 refused" in ran.err


def test_refused_flag_has_the_actor_the_fields_and_the_option(row: Any, bob: User) -> None:
    assert run(f"off checkout --as {bob.pk}").status == 0
    assert notes() == {
        "flag:checkout": f"its flag was changed here by {bob.pk} (source command); waffle has "
        "another enabled; pass --overwrite checkout to write the values of waffle"
    }


def test_overwrite_writes_the_values_of_waffle_to_this_flag_only(row: Any) -> None:
    flag("other", percent=10)
    run("import-waffle")
    changes.flags.disable("checkout")
    changes.flags.disable("other")
    ran = run("import-waffle --overwrite checkout")
    assert (ran.status, stored_flag("checkout").enabled) == (4, True)
    assert not FeatureFlag.objects.get(key="other").enabled


def test_overwrite_of_an_unknown_key_is_an_error(row: Any) -> None:
    ran = run("import-waffle --overwrite chekout")
    assert (ran.status, "no row of waffle has the key 'chekout'" in ran.err) == (1, True)


def test_change_of_allowed_users_here_is_kept(row: Any, bob: User) -> None:
    changes.flags.allow("checkout", bob)
    assert statuses() == {"flag:checkout": "refused"}
    assert stored_flag("checkout").allowed_users.count() == 2


def test_flag_that_was_changed_here_and_is_equal_again_is_not_refused(row: Any) -> None:
    changes.flags.disable("checkout")
    changes.flags.enable("checkout")
    ok("import-waffle")


def test_flag_that_was_deleted_here_is_not_created_again(row: Any) -> None:
    changes.flags.delete("checkout")
    assert notes()["flag:checkout"].startswith("its flag was deleted here")
    assert run("import-waffle").status == 4
    assert not FeatureFlag.objects.exists()
    assert run("import-waffle --overwrite checkout").status == 0
    assert stored_flag("checkout").rollout_percent == 10


def test_flag_that_was_created_again_here_is_kept(row: Any) -> None:
    changes.flags.delete("checkout")
    changes.flags.create("checkout", enabled=True, rollout_percent=77)
    assert statuses() == {"flag:checkout": "refused"}


def test_flag_without_history_is_kept(row: Any) -> None:
    rows("DELETE FROM flagstaff_change")
    Flag.objects.update(percent=40)
    assert notes()["flag:checkout"].startswith("the history does not say who has changed its flag")


def test_row_with_another_key_is_imported_again(row: Any, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": {"flag:checkout": "pay"}}}
    ok("import-waffle")
    assert FeatureFlag.objects.get(key="pay").rollout_percent == 10


def test_queries_of_a_second_import_do_not_grow_with_the_number_of_flags() -> None:
    numbers = []
    for prefix in ("a", "b"):
        Flag.objects.bulk_create(Flag(name=f"{prefix}{number}") for number in range(20))
        run("import-waffle")
        with CaptureQueriesContext(connection) as queries:
            ok("import-waffle")
        numbers.append(len(queries))
    assert numbers[1] < numbers[0] + 20
