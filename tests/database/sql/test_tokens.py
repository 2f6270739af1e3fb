"""Change tokens of transactions, sessions and roles, and the keys of rows that they carry.

test_statements.py has the tokens of all statements.
"""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from flagstaff._tables.database import fill, names, sql
from flagstaff.models import FeatureFlag, Segment
from tests.support.shop import Shop
from tests.support.sql import Tokens, copy_in, rolled_back, rows

OpenSession = Callable[[], "psycopg.Connection[Any]"]


def token_set() -> object:
    return sorted(rows(fill(sql("poll_tokens_v1"), names(connection))))


def test_every_statement_of_a_transaction_changes_the_token_set(shop: Shop) -> None:
    flag = shop.flag()
    first = token_set()
    flag.save()
    second = token_set()
    flag.save()
    assert len({str(first), str(second), str(token_set())}) == 3


def test_rolled_back_change_writes_no_token(shop: Shop) -> None:
    flag = shop.flag()
    before = token_set()
    with rolled_back():
        flag.save()
    assert token_set() == before


def test_replicating_session_writes_a_token_and_a_barrier_is_newer(shop: Shop) -> None:
    flag, tokens = shop.flag(), Tokens()
    rows("SET LOCAL session_replication_role = replica")
    flag.save()
    [[change]] = rows("SELECT max(id) FROM flagstaff_token")
    [[barrier]] = rows("SELECT flagstaff_barrier_v1()")
    assert barrier > change
    assert tokens() == ["f", "b"]


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
    "level",
    [
        psycopg.IsolationLevel.READ_COMMITTED,
        psycopg.IsolationLevel.SERIALIZABLE,
        psycopg.IsolationLevel.REPEATABLE_READ,
    ],
)
def test_two_writers_do_not_wait_for_each_other(
    level: psycopg.IsolationLevel, open_session: OpenSession
) -> None:
    insert = "INSERT INTO flagstaff_featureflag (key) VALUES (%s)"
    first, second = open_session(), open_session()
    for session, key in [(first, "a"), (second, "b")]:
        session.isolation_level = level
        session.execute("SET lock_timeout = '200ms'")
        session.execute(insert, [key])
    first.commit()
    try:
        second.commit()
    except psycopg.errors.SerializationFailure:
        # Rows on one page may look like a conflict, after which the caller tries again.
        assert level == psycopg.IsolationLevel.SERIALIZABLE
        second.execute(insert, ["b"])
        second.commit()
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
        with rolled_back():
            rows("DELETE FROM flagstaff_token")
            rows("ALTER TABLE flagstaff_token ALTER COLUMN id RESTART")
            rows("SELECT flagstaff_barrier_v1()")
            return token_set()

    assert token_one() != token_one()


def test_role_without_privileges_can_change_a_flag_and_use_nothing_of_the_triggers() -> None:
    tokens = Tokens()
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


def test_change_fails_if_its_token_cannot_be_written(shop: Shop) -> None:
    shop.flag()
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows("ALTER TABLE flagstaff_token RENAME TO elsewhere")
    with pytest.raises(DatabaseError, match="flagstaff_token"), transaction.atomic():
        FeatureFlag.objects.update(enabled=False)
    assert FeatureFlag.objects.filter(enabled=True).exists()


ALLOWED = "flagstaff_featureflag_allowed_users"
SEGMENTS = "flagstaff_segment"
# The most rows of which a token carries the keys.
MOST = 64


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


def insert(first: int, last: int) -> str:
    """The statement that creates segments with these primary keys."""
    return (
        f"INSERT INTO {SEGMENTS} (id, key, conditions) "
        f"SELECT id, 'segment_' || id, '[]' FROM generate_series({first}, {last}) AS id "
    )


@pytest.mark.parametrize("number", [MOST, MOST + 1])
def test_keys_of_many_rows_are_carried_up_to_a_limit(number: int, tokens: Tokens) -> None:
    keys = sorted(map(str, range(1, number + 1))) if number == MOST else ["any"]
    rows(insert(1, number))
    rows(f"UPDATE {SEGMENTS} SET description = 'paying'")
    rows(f"DELETE FROM {SEGMENTS}")
    assert tokens.texts() == [" ".join(["s", *keys])] * 3


@pytest.mark.parametrize("number", [MOST, MOST + 1])
def test_pairs_of_many_rows_are_carried_up_to_a_limit(
    number: int, tokens: Tokens, shop: Shop
) -> None:
    flag = shop.flag("dark_mode")
    users = User.objects.bulk_create([User(username=f"user_{n}") for n in range(number)])
    tokens()
    flag.allowed_users.add(*users)
    rows(f"DELETE FROM {ALLOWED}")
    pairs = sorted(f"{flag.pk}/{user.pk}" for user in users) if number == MOST else ["any"]
    assert tokens.texts() == [" ".join(["m", *pairs])] * 2


def test_rows_that_a_copy_creates_are_named_up_to_the_limit(tokens: Tokens) -> None:
    lines = [f"{number}\tsegment_{number}\t[]\n" for number in range(1, 200)]
    copy_in(f"{SEGMENTS} (id, key, conditions)", "".join(lines[:MOST]))
    copy_in(f"{SEGMENTS} (id, key, conditions)", "".join(lines[MOST:]))
    assert tokens.pks() == [("s", [str(number) for number in range(1, MOST + 1)]), ("s", None)]


@pytest.mark.parametrize(
    ("statement", "pks"), [(insert(1, 2), ["1", "2"]), (f"DELETE FROM {SEGMENTS}", [])]
)
def test_token_without_an_entry_in_the_history_is_marked(
    statement: str, pks: list[str], tokens: Tokens
) -> None:
    rows("DROP TABLE flagstaff_change CASCADE")
    rows(statement)
    assert tokens.pks() == [("s", pks)]
    assert rows("SELECT entry_missing FROM flagstaff_token ORDER BY id DESC LIMIT 1") == [(True,)]


@pytest.mark.parametrize("columns", ["", ", id"])
def test_trigger_of_all_events_stands_for_any_row(columns: str, tokens: Tokens) -> None:
    rows(
        f"DROP TRIGGER flagstaff_token_insert_v1 ON {SEGMENTS}; "
        f"DROP TRIGGER flagstaff_token_update_v1 ON {SEGMENTS}; CREATE TRIGGER flagstaff_token_v1 "
        f"AFTER INSERT OR UPDATE ON {SEGMENTS} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1(s{columns})"
    )
    rows(insert(1, 1))
    rows(f"UPDATE {SEGMENTS} SET key = 'other' WHERE id = 2")
    assert tokens.texts() == ["s any", "s any"]


def test_change_after_the_primary_key_was_renamed_succeeds_and_stands_for_any_row(
    tokens: Tokens,
) -> None:
    rows(f"ALTER TABLE {SEGMENTS} RENAME id TO number")
    rows(f"INSERT INTO {SEGMENTS} (key, conditions) VALUES ('enterprise', '[]')")
    rows(f"UPDATE {SEGMENTS} SET description = 'paying'")
    assert tokens.texts() == ["s any", "s any"]
    assert Segment.objects.defer("id").values_list("key", "description").get() == (
        "enterprise",
        "paying",
    )


@pytest.mark.parametrize(("columns", "pks"), [("number", ["1"]), ("number, name", [["1", "a"]])])
def test_row_without_a_key_stands_for_any_row(columns: str, pks: list[str], tokens: Tokens) -> None:
    rows(
        "CREATE TABLE plain (number int, name text); CREATE TRIGGER plain AFTER INSERT ON plain "
        "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT "
        f"EXECUTE FUNCTION flagstaff_token_v1(s, {columns})"
    )
    rows("INSERT INTO plain VALUES (1, 'a')")
    rows("INSERT INTO plain VALUES (1, 'a'), (NULL, NULL)")
    assert tokens.pks() == [("s", pks), ("s", None)]


@pytest.mark.parametrize("name", ['a "b" c', "new_rows", "100%", "a', 'b"])
def test_column_with_any_name_is_read(name: str, tokens: Tokens) -> None:
    quoted = connection.ops.quote_name(name.replace('"', '""'))
    rows(
        f"CREATE TABLE plain ({quoted} text); CREATE TRIGGER plain AFTER INSERT ON plain "
        "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT "
        f"EXECUTE FUNCTION flagstaff_token_v1(s, {quoted})"
    )
    rows("""INSERT INTO plain VALUES ('{a,"b"}'), ('NULL'), ('')""")
    assert tokens.pks() == [("s", ['{a,"b"}', "NULL", ""])]


def test_row_of_an_inheriting_table_that_an_update_of_its_parent_changes_is_named(
    tokens: Tokens,
) -> None:
    rows(f"CREATE TABLE heir () INHERITS ({SEGMENTS})")
    rows("INSERT INTO heir (id, key, conditions) VALUES (7, 'enterprise', '[]')")
    rows(f"UPDATE {SEGMENTS} SET description = 'paying'")
    assert tokens.pks() == [("s", ["7"])]


def test_token_has_the_id_of_its_transaction_in_a_savepoint_too() -> None:
    rows(f"SAVEPOINT one; {insert(1, 1)}")
    [[is_own]] = rows(
        "SELECT xact = pg_current_xact_id() FROM flagstaff_token ORDER BY id DESC LIMIT 1"
    )
    assert is_own
