"""The history triggers record every change, and never block one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F

from flagstaff.history.log import missing_entries
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.concurrency import run_during
from tests.support.sql import copy_in, rows, without_table
from tools.limits import seconds

pytestmark = pytest.mark.django_db


class History:
    """The entries since the last call, oldest first."""

    def __init__(self) -> None:
        self._newest = 0
        self()

    def __call__(self) -> list[Any]:
        entries = list(Change.objects.filter(id__gt=self._newest).order_by("id"))
        self._newest = entries[-1].pk if entries else self._newest
        return entries

    def actions(self) -> list[tuple[str, str, str]]:
        return [(entry.relation, entry.action, entry.key) for entry in self()]

    def user_changes(self) -> list[tuple[str, Any, Any]]:
        return [(entry.key, entry.old, entry.new) for entry in self()]


@pytest.fixture
def flag(db: None) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout")


@pytest.fixture
def alice(flag: FeatureFlag) -> User:
    """An allowed user of the flag."""
    alice = User.objects.create(username="alice")
    flag.allowed_users.add(alice)
    # Deferred constraints would block TRUNCATE and ALTER TABLE.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    return alice


@pytest.fixture
def bob(db: None) -> User:
    """A user who is not allowed."""
    return User.objects.create(username="bob")


@pytest.fixture
def gateway(db: None) -> KeyValueStore:
    return KeyValueStore.objects.create(key="payment_gateway", value="stripe")


@pytest.fixture
def history(flag: FeatureFlag, alice: User, bob: User, gateway: KeyValueStore) -> History:
    return History()


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


def merge() -> None:
    [[version]] = rows("SELECT current_setting('server_version_num')::int")
    if version < 150000:
        pytest.skip("MERGE requires PostgreSQL 15")
    rows(
        "MERGE INTO flagstaff_featureflag AS f "
        "USING (VALUES ('new_checkout'), ('banner')) AS v (key) ON f.key = v.key "
        "WHEN MATCHED THEN UPDATE SET enabled = true "
        "WHEN NOT MATCHED THEN INSERT (key) VALUES (v.key)"
    )


def delete_by_cascade() -> None:
    [[constraint]] = rows(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' "
        "AND conrelid = 'flagstaff_featureflag_allowed_users'::regclass "
        "AND confrelid = 'flagstaff_featureflag'::regclass"
    )
    rows(
        f"ALTER TABLE flagstaff_featureflag_allowed_users DROP CONSTRAINT {constraint}, "
        "ADD FOREIGN KEY (featureflag_id) REFERENCES flagstaff_featureflag ON DELETE CASCADE"
    )
    rows("DELETE FROM flagstaff_featureflag WHERE key = 'new_checkout'")


CREATED, UPDATED = ("f", "insert", "banner"), ("f", "update", "new_checkout")
DELETED = [("f", "delete", "new_checkout"), ("m", "delete", "new_checkout")]
# Beside the flag with an allowed user there is "other", which is on.
STATEMENTS: dict[str, tuple[Callable[[], object], list[tuple[str, str, str]]]] = {
    "UPDATE of many": (lambda: FeatureFlag.objects.update(enabled=True), [UPDATED]),
    "COPY": (
        lambda: copy_in("flagstaff_featureflag (key)", "a\nb\n"),
        [("f", "insert", "a"), ("f", "insert", "b")],
    ),
    "ON CONFLICT DO UPDATE": (
        lambda: rows(
            "INSERT INTO flagstaff_featureflag (key) VALUES ('new_checkout'), ('banner') "
            "ON CONFLICT (key) DO UPDATE SET enabled = true"
        ),
        [CREATED, UPDATED],
    ),
    "MERGE": (merge, [CREATED, UPDATED]),
    "another primary key": (
        lambda: FeatureFlag.objects.filter(key="other").update(id=F("id") + 1000),
        [("f", "delete", "other"), ("f", "insert", "other")],
    ),
    "deletion": (lambda: FeatureFlag.objects.get(key="new_checkout").delete(), DELETED),
    "deletion by a cascade": (delete_by_cascade, DELETED),
}


@pytest.mark.parametrize(("write", "expected"), STATEMENTS.values(), ids=STATEMENTS)
def test_statement_records_the_action_on_each_row_that_changed(
    write: Callable[[], object], expected: list[tuple[str, str, str]], history: History
) -> None:
    FeatureFlag.objects.create(key="other", enabled=True)
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    history()
    write()
    assert sorted(history.actions()) == expected


UNRECORDED: dict[str, Callable[[FeatureFlag], object]] = {
    "save without a change": lambda flag: flag.save(),
    "UPDATE to the same": lambda flag: FeatureFlag.objects.update(enabled=False),
    "UPDATE of no row": lambda flag: FeatureFlag.objects.filter(key="other").update(enabled=True),
    "DELETE of no row": lambda flag: FeatureFlag.objects.filter(key="other").delete(),
    "UPDATE of the allowed users to the same": lambda flag: rows(
        "UPDATE flagstaff_featureflag_allowed_users SET user_id = user_id"
    ),
    "ON CONFLICT DO NOTHING": lambda flag: rows(
        "INSERT INTO flagstaff_featureflag (key) VALUES ('new_checkout') ON CONFLICT DO NOTHING"
    ),
}


@pytest.mark.parametrize("change", UNRECORDED.values(), ids=UNRECORDED)
def test_unchanged_row_is_not_recorded(
    change: Callable[[FeatureFlag], object], flag: FeatureFlag, history: History
) -> None:
    change(flag)
    assert history.actions() == []


def test_change_that_is_rolled_back_or_replicated_is_not_recorded(history: History) -> None:
    with transaction.atomic():
        FeatureFlag.objects.update(enabled=True)
        transaction.set_rollback(True)
    rows("SET LOCAL session_replication_role = replica")
    FeatureFlag.objects.update(enabled=True)
    assert history.actions() == []


def test_set_is_two_entries_and_an_update_of_allowed_users_is_one(
    flag: FeatureFlag, alice: User, bob: User, history: History
) -> None:
    flag.allowed_users.set([bob])
    removed, added = history()
    assert (removed.action, removed.old, removed.new) == ("delete", [alice.pk], [])
    assert (added.relation, added.action, added.key) == ("m", "insert", "new_checkout")
    assert (added.object_pk, added.old, added.new) == (str(flag.pk), [], [bob.pk])
    rows("UPDATE flagstaff_featureflag_allowed_users SET user_id = %s", alice.pk)
    assert history.user_changes() == [("new_checkout", [bob.pk], [alice.pk])]


def test_statement_on_many_users_is_one_entry_per_flag(
    flag: FeatureFlag, bob: User, history: History
) -> None:
    banner = FeatureFlag.objects.create(key="banner")
    users = User.objects.bulk_create([User(username=f"user_{n}") for n in range(200)])
    history()
    through = FeatureFlag.allowed_users.through
    through.objects.bulk_create(
        through(featureflag=target, user=user) for target in (flag, banner) for user in users
    )
    entries = history.user_changes()
    pks = [user.pk for user in users]
    assert entries == [("banner", [], pks), ("new_checkout", [], pks)]


def test_users_flags_and_deletion_are_recorded_for_each_flag(
    alice: User, bob: User, history: History
) -> None:
    banner = FeatureFlag.objects.create(key="banner")
    history()
    bob.flagstaff_flags.set([banner, FeatureFlag.objects.get(key="new_checkout")])
    assert history.user_changes() == [("banner", [], [bob.pk]), ("new_checkout", [], [bob.pk])]
    pk = alice.pk
    alice.delete()
    assert history.user_changes() == [("new_checkout", [pk], [])]


def test_truncate_records_the_rows(alice: User, history: History) -> None:
    rows("TRUNCATE flagstaff_featureflag CASCADE")
    flags, allowed = sorted(history(), key=lambda entry: entry.relation)
    assert (flags.relation, allowed.relation) == ("f", "m")
    assert {flags.action, allowed.action} == {"truncate"}
    assert {flags.key, allowed.key} == {"new_checkout"}
    assert (flags.new, allowed.old) == (None, [alice.pk])


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
    broken: list[str], flag: FeatureFlag, bob: User, history: History, warnings: list[str]
) -> None:
    for statement in broken:
        rows(statement)
    FeatureFlag.objects.update(enabled=True)
    flag.allowed_users.add(bob)
    rows("TRUNCATE flagstaff_keyvaluestore")
    assert FeatureFlag.objects.filter(enabled=True, allowed_users=bob).exists()
    assert [warning.rpartition(": ")[0] for warning in warnings] == [
        "flagstaff: no history of this UPDATE on flagstaff_featureflag",
        "flagstaff: no history of this INSERT on flagstaff_featureflag_allowed_users",
        "flagstaff: no history of this TRUNCATE on flagstaff_keyvaluestore",
    ]


def test_token_of_a_change_without_an_entry_is_marked_and_no_other(
    flag: FeatureFlag, bob: User, history: History
) -> None:
    [[newest]] = rows("SELECT max(id) FROM flagstaff_token")
    lost = "flagstaff_keyvaluestore, flagstaff_featureflag, flagstaff_featureflag_allowed_users"
    with without_table("flagstaff_change"):
        FeatureFlag.objects.update(enabled=True)
        with suppress(ZeroDivisionError), transaction.atomic():
            flag.allowed_users.add(bob)
            raise ZeroDivisionError
        rows(f"TRUNCATE {lost}")
    FeatureFlag.objects.create(key="banner").allowed_users.add(bob)
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
    flag: FeatureFlag, bob: User, history: History
) -> None:
    for attempt in range(2):
        # As `pg_restore --data-only --table=flagstaff_change` leaves it.
        rows(
            "SELECT setval(pg_get_serial_sequence('flagstaff_change', 'id'), max(id), false)"
            " FROM flagstaff_change"
        )
        if attempt:
            flag.allowed_users.add(bob)
        else:
            FeatureFlag.objects.update(enabled=True)
    FeatureFlag.objects.update(enabled=False)
    assert [action for _, action, _ in history.actions()] == ["update", "insert", "update"]
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
    flag: FeatureFlag, bob: User, warnings: list[str]
) -> None:
    writes: dict[str, Callable[[], object]] = {
        "UPDATE on flagstaff_featureflag": lambda: FeatureFlag.objects.update(enabled=True),
        "INSERT on flagstaff_featureflag_allowed_users": lambda: flag.allowed_users.add(bob),
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
