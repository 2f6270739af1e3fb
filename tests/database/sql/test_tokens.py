"""Every change of a watched table writes a change token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from flagstaff._tables.names import fill, names, sql
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.sql import Tokens, copy_in, rows

pytestmark = pytest.mark.django_db
OpenSession = Callable[[], "psycopg.Connection[Any]"]


def token_set() -> object:
    return sorted(rows(fill(sql("poll_tokens_v1"), names(connection))))


@dataclass(frozen=True)
class Stored:
    """The rows before a change. alice is an allowed user of the flag, and bob is not."""

    flag: FeatureFlag
    alice: User
    bob: User
    gateway: KeyValueStore


@pytest.fixture
def stored(new_checkout: FeatureFlag, alice: User, bob: User, gateway: KeyValueStore) -> Stored:
    # Deferred constraints would block TRUNCATE.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    return Stored(new_checkout, alice, bob, gateway)


@pytest.fixture
def flag(stored: Stored) -> FeatureFlag:
    return stored.flag


@pytest.fixture
def tokens(stored: Stored) -> Tokens:
    return Tokens()


Change = Callable[[Stored], object]
ALLOWED = "flagstaff_featureflag_allowed_users"
FLAG_CHANGES: dict[str, Change] = {
    "save": lambda old: old.flag.save(),
    "update": lambda old: FeatureFlag.objects.update(enabled=True),
    "rename": lambda old: FeatureFlag.objects.filter(pk=old.flag.pk).update(key="checkout"),
    "create": lambda old: FeatureFlag.objects.create(key="banner"),
    "bulk_create": lambda old: FeatureFlag.objects.bulk_create([FeatureFlag(key="banner")]),
    "bulk_update": lambda old: FeatureFlag.objects.bulk_update([old.flag], ["enabled"]),
    "update_or_create": lambda old: FeatureFlag.objects.update_or_create(key="banner"),
    "INSERT": lambda old: rows("INSERT INTO flagstaff_featureflag (key) VALUES ('banner')"),
    "DELETE": lambda old: rows(
        "INSERT INTO flagstaff_featureflag (key) VALUES ('other'); "
        "DELETE FROM flagstaff_featureflag WHERE key = 'other'"
    ),
    "COPY": lambda old: copy_in("flagstaff_featureflag (key, enabled)", "banner\ttrue\n"),
    "ON CONFLICT DO UPDATE": lambda old: rows(
        "INSERT INTO flagstaff_featureflag (key) VALUES ('new_checkout') "
        "ON CONFLICT (key) DO UPDATE SET enabled = true"
    ),
}
ALLOWED_USERS_CHANGES: dict[str, Change] = {
    "add": lambda old: old.flag.allowed_users.add(old.bob),
    "remove": lambda old: old.flag.allowed_users.remove(old.alice),
    "set": lambda old: old.flag.allowed_users.set([old.bob]),
    "clear": lambda old: old.flag.allowed_users.clear(),
    "add to the user": lambda old: old.bob.flagstaff_flags.add(old.flag),
    "remove from the user": lambda old: old.alice.flagstaff_flags.remove(old.flag),
    "set for the user": lambda old: old.bob.flagstaff_flags.set([old.flag]),
    "clear for the user": lambda old: old.alice.flagstaff_flags.clear(),
    "deletion of the user": lambda old: old.alice.delete(),
    "UPDATE": lambda old: rows(f"UPDATE {ALLOWED} SET user_id = %s", old.bob.pk),
    "TRUNCATE": lambda old: rows(f"TRUNCATE {ALLOWED}"),
    "COPY": lambda old: copy_in(
        f"{ALLOWED} (featureflag_id, user_id)", f"{old.flag.pk}\t{old.bob.pk}\n"
    ),
}
VALUE_CHANGES: dict[str, Change] = {
    "save": lambda old: old.gateway.save(),
    "update": lambda old: KeyValueStore.objects.update(value="paypal"),
    "create": lambda old: KeyValueStore.objects.create(key="limit", value=25),
    "delete": lambda old: old.gateway.delete(),
    "TRUNCATE": lambda old: rows("TRUNCATE flagstaff_keyvaluestore"),
    "INSERT": lambda old: rows(
        """INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('limit', '25')"""
    ),
}
RELATIONS = {"f": FLAG_CHANGES, "m": ALLOWED_USERS_CHANGES, "k": VALUE_CHANGES}


@pytest.mark.parametrize(
    ("relation", "name"),
    [(relation, name) for relation, changes in RELATIONS.items() for name in changes],
)
def test_change_of_a_row_writes_a_token(
    relation: str, name: str, stored: Stored, tokens: Tokens
) -> None:
    RELATIONS[relation][name](stored)
    assert set(tokens()) == {relation}


def test_change_of_both_tables_writes_a_token_for_each(flag: FeatureFlag, tokens: Tokens) -> None:
    flag.delete()
    assert tokens() == ["m", "f"]
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows("TRUNCATE flagstaff_featureflag CASCADE")
    assert sorted(tokens()) == ["f", "m"]


def test_statement_on_many_rows_writes_one_token(tokens: Tokens) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"flag_{number}") for number in range(100)])
    assert tokens() == ["f"]


def test_every_statement_of_a_transaction_changes_the_token_set(flag: FeatureFlag) -> None:
    first = token_set()
    flag.save()
    second = token_set()
    flag.save()
    assert len({str(first), str(second), str(token_set())}) == 3


def test_rolled_back_change_writes_no_token(flag: FeatureFlag, tokens: Tokens) -> None:
    before = token_set()
    with transaction.atomic():
        flag.save()
        transaction.set_rollback(True)
    assert token_set() == before
    assert tokens() == []


def test_commits_out_of_order_are_both_visible(open_session: OpenSession) -> None:
    slow, quick = open_session(), open_session()
    slow.execute("INSERT INTO flagstaff_featureflag (key) VALUES ('slow')")
    quick.execute("INSERT INTO flagstaff_featureflag (key) VALUES ('quick')")
    seen = [token_set()]
    for session in (quick, slow):
        session.commit()
        seen.append(token_set())
    assert seen[0] != seen[1] != seen[2] != seen[0]


@pytest.mark.parametrize(
    "level", [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.SERIALIZABLE]
)
def test_two_writers_do_not_wait_for_each_other(
    level: psycopg.IsolationLevel, open_session: OpenSession
) -> None:
    one, two = open_session(), open_session()
    for session, key in [(one, "a"), (two, "b")]:
        session.isolation_level = level
        session.execute("SET lock_timeout = '200ms'")
        session.execute("INSERT INTO flagstaff_featureflag (key) VALUES (%s)", [key])
    one.commit()
    two.commit()
    assert FeatureFlag.objects.count() == 2


def test_commit_notifies_once_with_the_oid_of_the_token_table(open_session: OpenSession) -> None:
    listener = open_session()
    listener.execute("LISTEN flagstaff_v1")
    listener.commit()
    with transaction.atomic():
        FeatureFlag.objects.create(key="a")
        FeatureFlag.objects.create(key="b")
    [notice] = listener.notifies(timeout=5, stop_after=1)
    assert [(notice.payload,)] == rows("SELECT 'flagstaff_token'::regclass::oid::text")


def test_barrier_is_newer_than_the_change(flag: FeatureFlag, tokens: Tokens) -> None:
    flag.save()
    [[change]] = rows("SELECT max(id) FROM flagstaff_token")
    [[barrier]] = rows("SELECT flagstaff_barrier_v1()")
    assert barrier > change
    assert tokens() == ["f", "b"]


def test_old_tokens_are_pruned() -> None:
    # Also of a table that is published.
    rows("CREATE PUBLICATION everything FOR ALL TABLES")
    rows("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")
    # The newest token of another relation stays.
    [[count, span]] = rows(
        "SELECT count(*), max(id) - min(id) FROM flagstaff_token WHERE relation = 'b'"
    )
    assert 1000 <= span <= 1064
    assert count <= 1065


@pytest.mark.parametrize("level", psycopg.IsolationLevel)
def test_only_serializable_writers_do_not_prune(
    level: psycopg.IsolationLevel, open_session: OpenSession
) -> None:
    session = open_session()
    session.isolation_level = level
    session.execute("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")
    [count] = session.execute("SELECT count(*) FROM flagstaff_token").fetchone() or [0]
    assert (count >= 2000) is (level == psycopg.IsolationLevel.SERIALIZABLE)


def test_restored_server_with_the_same_ids_has_another_token_set() -> None:
    def token_one() -> object:
        with transaction.atomic():
            rows("DELETE FROM flagstaff_token")
            rows("ALTER TABLE flagstaff_token ALTER COLUMN id RESTART")
            rows("SELECT flagstaff_barrier_v1()")
            found = token_set()
            transaction.set_rollback(True)
        return found

    assert token_one() != token_one()


def test_replicating_session_writes_tokens(flag: FeatureFlag, tokens: Tokens) -> None:
    rows("SET LOCAL session_replication_role = replica")
    flag.save()
    assert tokens() == ["f"]


def test_role_without_privileges_can_change_a_flag_and_use_nothing_of_the_triggers(
    tokens: Tokens,
) -> None:
    rows(
        "CREATE ROLE shopkeeper; "
        "GRANT SELECT, INSERT, UPDATE ON flagstaff_featureflag TO shopkeeper; "
        "SET LOCAL ROLE shopkeeper"
    )
    FeatureFlag.objects.create(key="banner")
    for forbidden in (
        "SELECT flagstaff_barrier_v1()",
        "SELECT flagstaff_write_token_v1('f', NULL)",
        "SELECT * FROM flagstaff_token",
        "SELECT * FROM flagstaff_change",
    ):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            rows(forbidden)
    rows("RESET ROLE")
    assert tokens() == ["f"]


def test_change_fails_if_its_token_cannot_be_written(flag: FeatureFlag) -> None:
    rows("ALTER TABLE flagstaff_token RENAME TO elsewhere")
    with pytest.raises(DatabaseError, match="flagstaff_token"), transaction.atomic():
        FeatureFlag.objects.update(enabled=False)
    assert FeatureFlag.objects.filter(enabled=True).exists()
