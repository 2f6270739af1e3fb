"""Every change of a watched table writes a change token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from flagstaff._tables.names import fill, names, sql
from flagstaff.models import FeatureFlag, KeyValueStore

pytestmark = pytest.mark.django_db
OpenSession = Callable[[], "psycopg.Connection[Any]"]


class Tokens:
    """The relations of the tokens since the last call."""

    def __init__(self) -> None:
        self._newest = 0
        self()

    def __call__(self) -> list[str]:
        found = rows(
            "SELECT id, relation::text FROM flagstaff_token WHERE id > %s ORDER BY id", self._newest
        )
        self._newest = found[-1][0] if found else self._newest
        return [relation for _, relation in found]


def rows(query: str, *parameters: str | int) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def token_set() -> object:
    return sorted(rows(fill(sql("poll_tokens_v1"), names(connection))))


def copy_in(table: str, line: str) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        copy.write(line)


@pytest.fixture
def flag(db: None) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout")


@pytest.fixture
def alice(flag: FeatureFlag) -> User:
    """An allowed user of the flag."""
    alice = User.objects.create(username="alice")
    flag.allowed_users.add(alice)
    # Deferred constraints would block TRUNCATE.
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
def tokens(flag: FeatureFlag, alice: User, bob: User, gateway: KeyValueStore) -> Tokens:
    return Tokens()


@pytest.fixture
def open_session(transactional_db: None) -> Iterator[OpenSession]:
    """Opens sessions, each in a transaction from its first statement on."""
    sessions = []

    def open_session() -> psycopg.Connection[Any]:
        parameters = connection.get_connection_params()
        session: psycopg.Connection[Any] = connection.get_new_connection(parameters)
        sessions.append(session)
        return session

    yield open_session
    for session in sessions:
        session.close()


FLAG_CHANGES: dict[str, Callable[[FeatureFlag], object]] = {
    "save": lambda flag: flag.save(),
    "update": lambda flag: FeatureFlag.objects.update(enabled=True),
    "update of no row": lambda flag: FeatureFlag.objects.filter(key="other").update(enabled=True),
    "rename": lambda flag: FeatureFlag.objects.filter(pk=flag.pk).update(key="checkout"),
    "create": lambda flag: FeatureFlag.objects.create(key="banner"),
    "bulk_create": lambda flag: FeatureFlag.objects.bulk_create([FeatureFlag(key="banner")]),
    "bulk_update": lambda flag: FeatureFlag.objects.bulk_update([flag], ["enabled"]),
    "update_or_create": lambda flag: FeatureFlag.objects.update_or_create(key="banner"),
    "INSERT": lambda flag: rows("INSERT INTO flagstaff_featureflag (key) VALUES ('banner')"),
    "DELETE": lambda flag: rows("DELETE FROM flagstaff_featureflag WHERE key = 'other'"),
    "COPY": lambda flag: copy_in("flagstaff_featureflag (key, enabled)", "banner\ttrue\n"),
    "ON CONFLICT DO UPDATE": lambda flag: rows(
        "INSERT INTO flagstaff_featureflag (key) VALUES ('new_checkout') "
        "ON CONFLICT (key) DO UPDATE SET enabled = true"
    ),
    "ON CONFLICT DO NOTHING": lambda flag: rows(
        "INSERT INTO flagstaff_featureflag (key) VALUES ('new_checkout') ON CONFLICT DO NOTHING"
    ),
}


@pytest.mark.parametrize("change", FLAG_CHANGES.values(), ids=FLAG_CHANGES)
def test_change_of_a_flag_writes_a_token(
    change: Callable[[FeatureFlag], object], flag: FeatureFlag, tokens: Tokens
) -> None:
    change(flag)
    assert set(tokens()) == {"f"}


ALLOWED_USERS_CHANGES: dict[str, Callable[[FeatureFlag, User, User], object]] = {
    "add": lambda flag, alice, bob: flag.allowed_users.add(bob),
    "remove": lambda flag, alice, bob: flag.allowed_users.remove(alice),
    "set": lambda flag, alice, bob: flag.allowed_users.set([bob]),
    "clear": lambda flag, alice, bob: flag.allowed_users.clear(),
    "add to the user": lambda flag, alice, bob: bob.flagstaff_flags.add(flag),
    "remove from the user": lambda flag, alice, bob: alice.flagstaff_flags.remove(flag),
    "set for the user": lambda flag, alice, bob: bob.flagstaff_flags.set([flag]),
    "clear for the user": lambda flag, alice, bob: alice.flagstaff_flags.clear(),
    "deletion of the user": lambda flag, alice, bob: alice.delete(),
    "UPDATE": lambda flag, alice, bob: rows(
        "UPDATE flagstaff_featureflag_allowed_users SET user_id = %s", bob.pk
    ),
    "TRUNCATE": lambda flag, alice, bob: rows("TRUNCATE flagstaff_featureflag_allowed_users"),
    "COPY": lambda flag, alice, bob: copy_in(
        "flagstaff_featureflag_allowed_users (featureflag_id, user_id)", f"{flag.pk}\t{bob.pk}\n"
    ),
}


@pytest.mark.parametrize("change", ALLOWED_USERS_CHANGES.values(), ids=ALLOWED_USERS_CHANGES)
def test_change_of_allowed_users_writes_a_token(
    change: Callable[[FeatureFlag, User, User], object],
    flag: FeatureFlag,
    alice: User,
    bob: User,
    tokens: Tokens,
) -> None:
    change(flag, alice, bob)
    assert set(tokens()) == {"m"}


VALUE_CHANGES: dict[str, Callable[[KeyValueStore], object]] = {
    "save": lambda gateway: gateway.save(),
    "update": lambda gateway: KeyValueStore.objects.update(value="paypal"),
    "create": lambda gateway: KeyValueStore.objects.create(key="limit", value=25),
    "delete": lambda gateway: gateway.delete(),
    "TRUNCATE": lambda gateway: rows("TRUNCATE flagstaff_keyvaluestore"),
    "INSERT": lambda gateway: rows(
        """INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('limit', '25')"""
    ),
}


@pytest.mark.parametrize("change", VALUE_CHANGES.values(), ids=VALUE_CHANGES)
def test_change_of_a_value_writes_a_token(
    change: Callable[[KeyValueStore], object], gateway: KeyValueStore, tokens: Tokens
) -> None:
    change(gateway)
    assert set(tokens()) == {"k"}


def test_deleted_flag_writes_tokens_for_its_allowed_users_too(
    flag: FeatureFlag, tokens: Tokens
) -> None:
    flag.delete()
    assert tokens() == ["m", "f"]


def test_truncate_cascade_writes_tokens_for_both_tables(tokens: Tokens) -> None:
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


def test_two_writers_do_not_wait_for_each_other(open_session: OpenSession) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key="a"), FeatureFlag(key="b")])
    one, two = open_session(), open_session()
    for session, key in [(one, "a"), (two, "b")]:
        session.execute("SET lock_timeout = '200ms'")
        session.execute("UPDATE flagstaff_featureflag SET enabled = true WHERE key = %s", [key])
        session.execute("UPDATE flagstaff_keyvaluestore SET value = '1' WHERE key = %s", [key])
    one.commit()
    two.commit()
    assert FeatureFlag.objects.filter(enabled=True).count() == 2


def test_two_serializable_writers_both_succeed(open_session: OpenSession) -> None:
    one, two = open_session(), open_session()
    for session, key in [(one, "a"), (two, "b")]:
        session.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
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
    rows("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")
    [[count, span]] = rows("SELECT count(*), max(id) - min(id) FROM flagstaff_token")
    assert 1000 <= span <= 1064
    assert count <= 1065


def test_repeatable_read_writers_do_not_prune(open_session: OpenSession) -> None:
    session = open_session()
    session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    session.execute("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")
    [count] = session.execute("SELECT count(*) FROM flagstaff_token").fetchone() or [0]
    assert count >= 2000


def test_pruning_works_with_a_publication_of_all_tables() -> None:
    rows("CREATE PUBLICATION everything FOR ALL TABLES")
    rows("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")


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


@pytest.fixture
def shopkeeper(tokens: Tokens) -> Iterator[None]:
    """A role with privileges on flags only."""
    rows("CREATE ROLE shopkeeper")
    rows("GRANT SELECT, INSERT, UPDATE ON flagstaff_featureflag TO shopkeeper")
    rows("SET LOCAL ROLE shopkeeper")
    yield
    rows("RESET ROLE")


def test_role_without_privileges_on_tokens_can_change_a_flag(
    tokens: Tokens, shopkeeper: None
) -> None:
    FeatureFlag.objects.create(key="banner")
    rows("RESET ROLE")
    assert tokens() == ["f"]


@pytest.mark.parametrize(
    "forbidden",
    [
        "SELECT flagstaff_barrier_v1()",
        """SELECT flagstaff_write_token_v1('f')""",
        "SELECT * FROM flagstaff_token",
        "SELECT * FROM flagstaff_change",
    ],
)
def test_role_without_privileges_cannot_use_tables_and_functions_of_triggers(
    forbidden: str, shopkeeper: None
) -> None:
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        rows(forbidden)


def test_change_fails_if_its_token_cannot_be_written(flag: FeatureFlag) -> None:
    rows("ALTER TABLE flagstaff_token RENAME TO elsewhere")
    with pytest.raises(DatabaseError, match="flagstaff_token"), transaction.atomic():
        FeatureFlag.objects.update(enabled=True)
    assert not FeatureFlag.objects.filter(enabled=True).exists()
