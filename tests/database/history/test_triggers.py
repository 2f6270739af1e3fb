"""The history triggers record every change, and never block one."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from flagstaff.history.log import missing_entries
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.concurrency import run_during
from tests.support.shop import Shop
from tests.support.sql import rolled_back, rows, without_table
from tools.limits import seconds

History = Callable[[], list[Change]]


@pytest.fixture
def flag(shop: Shop) -> FeatureFlag:
    """A disabled flag with alice as an allowed user; bob is not allowed, and there is a value."""
    flag = shop.flag(enabled=False)
    shop.user("bob")
    shop.value()
    # Deferred constraints would block TRUNCATE and ALTER TABLE.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    return flag


@pytest.fixture
def history(flag: FeatureFlag) -> Callable[[], list[Change]]:
    """Returns the entries since the flag and the value, oldest first."""
    newest = Change.objects.latest("id").pk
    return lambda: [*Change.objects.filter(id__gt=newest).order_by("id")]


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """The warnings of the server."""
    received: list[str] = []

    def note(diagnostic: Any) -> None:
        received.append(diagnostic.message_primary)

    connection.ensure_connection()
    connection.connection.add_notice_handler(note)
    yield received
    connection.connection.remove_notice_handler(note)


def test_created_saved_and_renamed_rows_are_recorded_with_both_sides(history: History) -> None:
    flag = FeatureFlag.objects.create(key="banner", rollout_percent=25)
    flag.enabled, flag.key = True, "header"
    flag.save()
    KeyValueStore.objects.update(value="paypal")
    created, saved, value = history()
    assert (created.relation, created.action, created.key) == ("f", "insert", "banner")
    assert (created.old, created.new["rollout_percent"]) == (None, 25)
    assert (saved.relation, saved.action, saved.object_pk) == ("f", "update", str(flag.pk))
    assert (saved.old["enabled"], saved.new["enabled"]) == (False, True)
    # A renamed flag is recorded under its new key.
    assert (saved.key, saved.old["key"], saved.new["key"]) == ("header", "banner", "header")
    assert (value.relation, value.action, value.key) == ("k", "update", "payment_gateway")
    assert (value.old["value"], value.new["value"]) == ("stripe", "paypal")


def test_change_that_is_rolled_back_or_replicated_is_not_recorded(history: History) -> None:
    with rolled_back():
        FeatureFlag.objects.update(enabled=True)
    rows("SET LOCAL session_replication_role = replica")
    FeatureFlag.objects.update(enabled=True)
    assert history() == []


def test_set_is_two_entries_and_an_update_of_allowed_users_is_one(
    flag: FeatureFlag, history: History
) -> None:
    flag.allowed_users.set([2])
    rows("UPDATE flagstaff_featureflag_allowed_users SET user_id = 1")
    removed, added, updated = history()
    assert (removed.action, removed.old, removed.new) == ("delete", [1], [])
    assert (added.action, added.old, added.new) == ("insert", [], [2])
    assert (updated.action, updated.old, updated.new) == ("update", [2], [1])
    assert {entry.object_pk for entry in history()} == {str(flag.pk)}


def test_statement_on_many_users_is_one_entry_per_flag(flag: FeatureFlag, history: History) -> None:
    banner = FeatureFlag.objects.create(key="banner")
    users = User.objects.bulk_create([User(username=f"user_{n}") for n in range(200)])
    through = FeatureFlag.allowed_users.through
    through.objects.bulk_create(
        through(featureflag=target, user=user) for target in (flag, banner) for user in users
    )
    [_created, *entries] = history()
    pks = [user.pk for user in users]
    assert [(entry.key, entry.old, entry.new) for entry in entries] == [
        ("banner", [], pks),
        ("new_checkout", [], pks),
    ]


def test_truncate_records_the_rows(history: History) -> None:
    rows("TRUNCATE flagstaff_featureflag CASCADE")
    flags, allowed = sorted(history(), key=lambda entry: entry.relation)
    assert (flags.relation, allowed.relation) == ("f", "m")
    assert {flags.action, allowed.action} == {"truncate"}
    assert {flags.key, allowed.key} == {"new_checkout"}
    assert (flags.new, allowed.old) == (None, [1])


def test_entry_has_author_role_session_user_and_application_name(
    flag: FeatureFlag, history: History
) -> None:
    for name, value in [("actor", "alice"), ("source", "admin"), ("reason", "")]:
        rows("SELECT set_config(%s, %s, true)", f"flagstaff.{name}", value)
    rows("SET LOCAL application_name = 'psql'")
    FeatureFlag.objects.update(enabled=True)
    rows(
        "CREATE ROLE shopkeeper; GRANT SELECT, UPDATE ON flagstaff_featureflag TO shopkeeper;"
        "SET LOCAL ROLE shopkeeper"
    )
    FeatureFlag.objects.update(enabled=False)
    # The owner of the trigger's function is another one.
    rows("RESET ROLE; SET LOCAL SESSION AUTHORIZATION shopkeeper")
    FeatureFlag.objects.update(enabled=True)
    rows("RESET SESSION AUTHORIZATION")
    [[user, transaction_id]] = rows("SELECT session_user, pg_current_xact_id()::text::bigint")
    entry, of_the_role, of_the_user = history()
    assert (entry.actor, entry.source, entry.reason) == ("alice", "admin", None)
    assert (entry.session_user, entry.role, entry.application_name) == (user, user, "psql")
    assert entry.transaction_id == transaction_id
    assert (of_the_role.session_user, of_the_role.role) == (user, "shopkeeper")
    assert (of_the_user.session_user, of_the_user.role) == ("shopkeeper", "shopkeeper")


BROKEN = {
    "missing table": ["ALTER TABLE flagstaff_change RENAME TO elsewhere"],
    "missing privilege": [
        "CREATE ROLE clerk",
        "ALTER FUNCTION flagstaff_row_history_v1() OWNER TO clerk",
        "ALTER FUNCTION flagstaff_allowed_users_history_v1() OWNER TO clerk",
    ],
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_change_succeeds_with_a_warning_if_it_cannot_be_recorded(
    broken: list[str], flag: FeatureFlag, history: History, warnings: list[str]
) -> None:
    for statement in broken:
        rows(statement)
    FeatureFlag.objects.update(enabled=True)
    flag.allowed_users.add(2)
    rows("TRUNCATE flagstaff_keyvaluestore")
    assert FeatureFlag.objects.filter(enabled=True, allowed_users=2).exists()
    assert [warning.rpartition(": ")[0] for warning in warnings] == [
        "flagstaff: no history of this UPDATE on flagstaff_featureflag",
        "flagstaff: no history of this INSERT on flagstaff_featureflag_allowed_users",
        "flagstaff: no history of this TRUNCATE on flagstaff_keyvaluestore",
    ]


def test_token_of_a_change_without_an_entry_is_marked_and_no_other(
    flag: FeatureFlag, history: History
) -> None:
    [[newest]] = rows("SELECT max(id) FROM flagstaff_token")
    lost = "flagstaff_keyvaluestore, flagstaff_featureflag, flagstaff_featureflag_allowed_users"
    with without_table("flagstaff_change"):
        FeatureFlag.objects.update(enabled=True)
        with suppress(ZeroDivisionError), transaction.atomic():
            flag.allowed_users.add(2)
            raise ZeroDivisionError
        rows(f"TRUNCATE {lost}")
    FeatureFlag.objects.create(key="banner").allowed_users.add(2)
    rows("SELECT flagstaff_barrier_v1()")
    written = rows(
        "SELECT relation::text, entry_missing FROM flagstaff_token WHERE id > %s ORDER BY id",
        newest,
    )
    assert written[0] == ("f", True)
    assert sorted(written[1:4]) == [("f", True), ("k", True), ("m", True)]
    assert written[4:] == [("f", False), ("m", False), ("b", False)]
    count, newest_missing = missing_entries()
    assert count == 4
    assert rows("SELECT at FROM flagstaff_token WHERE at >= %s", newest_missing)


def test_change_after_a_restore_without_the_sequence_of_the_history_has_its_entry(
    flag: FeatureFlag, history: History
) -> None:
    for attempt in range(2):
        # As `pg_restore --data-only --table=flagstaff_change` leaves it.
        rows(
            "SELECT setval(pg_get_serial_sequence('flagstaff_change', 'id'), max(id), false)"
            " FROM flagstaff_change"
        )
        if attempt:
            flag.allowed_users.add(2)
        else:
            FeatureFlag.objects.update(enabled=True)
    FeatureFlag.objects.update(enabled=False)
    assert [entry.action for entry in history()] == ["update", "insert", "update"]
    assert missing_entries()[0] == 0


@pytest.mark.django_db(transaction=True)
def test_two_changes_after_a_restore_do_not_set_the_sequence_back(flag: FeatureFlag) -> None:
    set_sequence = "SELECT setval(pg_get_serial_sequence('flagstaff_change', 'id'), %s, %s)"
    newest = Change.objects.latest("id").pk
    rows(set_sequence, newest, False)
    run_during(
        lambda: rows("SELECT pg_advisory_xact_lock(hashtext('flagstaff_change'))"),
        partial(FeatureFlag.objects.update, enabled=True),
        # What the other change does under the lock, before it has more entries.
        lambda: rows(set_sequence, newest + 1000, True),
    )
    assert Change.objects.latest("id").pk == newest + 1001
    assert missing_entries()[0] == 0


@pytest.mark.django_db(transaction=True)
def test_change_waits_at_most_a_second_for_a_locked_history(
    flag: FeatureFlag, warnings: list[str]
) -> None:
    writes: dict[str, Callable[[], object]] = {
        "UPDATE on flagstaff_featureflag": lambda: FeatureFlag.objects.update(enabled=True),
        "INSERT on flagstaff_featureflag_allowed_users": lambda: flag.allowed_users.add(2),
    }
    locker = connection.get_new_connection(connection.get_connection_params())
    waited = []
    with locker:
        locker.execute("LOCK TABLE flagstaff_change")
        for write in writes.values():
            started = time.monotonic()
            write()
            waited.append(time.monotonic() - started)
    assert warnings == [
        f"flagstaff: no history of this {write}: canceling statement due to lock timeout (55P03)"
        for write in writes
    ]
    assert max(waited) < seconds(4)
    assert missing_entries()[0] == 2
