"""A token carries the primary keys of the rows that its statement changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.sql import Tokens, copy_in, rows

pytestmark = pytest.mark.django_db

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


def insert_link(flag: FeatureFlag, *users: User) -> str:
    values = ", ".join(f"({flag.pk}, {user.pk})" for user in users)
    return f"INSERT INTO {ALLOWED} (featureflag_id, user_id) VALUES {values}"


def texts(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def in_text_order(found: list[tuple[str, list[Any] | None]]) -> list[tuple[str, list[Any] | None]]:
    """The same tokens with sorted keys: rows are changed in the order in which they are stored."""
    return [(relation, pks and sorted(pks)) for relation, pks in found]


def test_rows_that_are_created_updated_and_deleted_are_named(tokens: Tokens) -> None:
    rows(insert(1, 3))
    rows(f"UPDATE {SEGMENTS} SET description = 'paying' WHERE id >= 2")
    rows(f"DELETE FROM {SEGMENTS} WHERE id = 3")
    created, updated, deleted = in_text_order(tokens.pks())
    assert created == ("s", ["1", "2", "3"])
    assert (updated, deleted) == (("s", ["2", "3"]), ("s", ["3"]))


def test_changes_of_flags_and_values_are_named(tokens: Tokens) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout")
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    assert tokens.pks() == [("f", [str(flag.pk)]), ("k", [str(value.pk)])]


def test_changed_primary_key_is_named_before_and_after(tokens: Tokens) -> None:
    rows(insert(1, 2))
    tokens()
    rows(f"UPDATE {SEGMENTS} SET id = id + 10")
    [(_, pks)] = tokens.pks()
    assert sorted(pks or []) == ["1", "11", "12", "2"]


def test_swapped_primary_keys_are_named(tokens: Tokens) -> None:
    rows(insert(1, 2))
    rows(f"ALTER TABLE {SEGMENTS} DROP CONSTRAINT {SEGMENTS}_pkey")
    tokens()
    rows(f"UPDATE {SEGMENTS} SET id = 3 - id")
    [(_, pks)] = tokens.pks()
    assert set(pks or []) == {"1", "2"}


def test_truncated_rows_are_not_named(tokens: Tokens) -> None:
    rows(insert(1, 3))
    tokens()
    rows(f"TRUNCATE {SEGMENTS}")
    assert tokens.pks() == [("s", None)]


@pytest.mark.parametrize("number", [MOST, MOST + 1])
def test_keys_of_many_rows_are_carried_up_to_a_limit(number: int, tokens: Tokens) -> None:
    expected = sorted(texts(1, number)) if number == MOST else None
    rows(insert(1, number))
    rows(f"UPDATE {SEGMENTS} SET description = 'paying'")
    rows(f"DELETE FROM {SEGMENTS}")
    assert in_text_order(tokens.pks()) == [("s", expected)] * 3


@pytest.mark.parametrize("number", [MOST, MOST + 1])
def test_pairs_of_many_rows_are_carried_up_to_a_limit(number: int, tokens: Tokens) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout")
    users = User.objects.bulk_create([User(username=f"user_{n}") for n in range(number)])
    tokens()
    rows(insert_link(flag, *users))
    rows(f"DELETE FROM {ALLOWED}")
    pairs = sorted([str(flag.pk), str(user.pk)] for user in users) if number == MOST else None
    assert in_text_order(tokens.pks()) == [("m", pairs)] * 2


def test_rows_that_a_copy_creates_are_named_up_to_the_limit(tokens: Tokens) -> None:
    lines = [f"{number}\tsegment_{number}\t[]\n" for number in range(1, 200)]
    copy_in(f"{SEGMENTS} (id, key, conditions)", "".join(lines[:MOST]))
    copy_in(f"{SEGMENTS} (id, key, conditions)", "".join(lines[MOST:]))
    assert tokens.pks() == [("s", texts(1, MOST)), ("s", None)]


def test_rows_that_an_upsert_creates_and_updates_are_named_apart(tokens: Tokens) -> None:
    rows(insert(1, 2))
    tokens()
    rows(insert(2, 4) + "ON CONFLICT (id) DO UPDATE SET description = 'paying'")
    assert sorted(tokens.pks(), key=str) == [("s", ["2"]), ("s", ["3", "4"])]


def test_rows_of_a_merge_are_named_apart(tokens: Tokens) -> None:
    [[version]] = rows("SELECT current_setting('server_version_num')::int")
    if version < 150_000:
        pytest.skip("MERGE requires PostgreSQL 15")
    rows(insert(1, 2))
    tokens()
    rows(
        f"MERGE INTO {SEGMENTS} AS s USING generate_series(1, 3) AS id ON s.id = id.id "
        "WHEN MATCHED AND s.id = 1 THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET description = 'paying' "
        "WHEN NOT MATCHED THEN INSERT (id, key, conditions) VALUES (id.id, 'new', '[]')"
    )
    assert sorted(tokens.pks(), key=str) == [("s", ["1"]), ("s", ["2"]), ("s", ["3"])]


def test_pairs_of_allowed_users_are_named(
    new_checkout: FeatureFlag, alice: User, bob: User, tokens: Tokens
) -> None:
    flag = str(new_checkout.pk)
    rows(f"UPDATE {ALLOWED} SET user_id = %s", bob.pk)
    rows(f"UPDATE {ALLOWED} SET user_id = %s", bob.pk)
    rows(f"DELETE FROM {ALLOWED}")
    rows(insert_link(new_checkout, alice, bob))
    both = [[flag, str(alice.pk)], [flag, str(bob.pk)]]
    assert tokens.pks() == [
        ("m", [both[1], both[0]]),
        ("m", [both[1]]),
        ("m", [both[1]]),
        ("m", both),
    ]


def test_pairs_that_a_cascade_deletes_are_named(
    new_checkout: FeatureFlag, alice: User, bob: User, tokens: Tokens
) -> None:
    rows(insert_link(new_checkout, bob))
    # Pending events would block ALTER TABLE.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows(f"ALTER TABLE {ALLOWED} ADD FOREIGN KEY (user_id) REFERENCES auth_user ON DELETE CASCADE")
    tokens()
    rows("SET CONSTRAINTS ALL DEFERRED; DELETE FROM auth_user")
    found = [pair for _, pairs in tokens.pks() for pair in pairs or [None]]
    flag = str(new_checkout.pk)
    assert sorted(found) == [[flag, str(alice.pk)], [flag, str(bob.pk)]]


@pytest.mark.parametrize(
    "statement",
    [
        insert(1, 1) + "ON CONFLICT DO NOTHING",
        insert(1, 1) + "LIMIT 0",
        f"UPDATE {SEGMENTS} SET key = 'other' WHERE id = 2",
        f"DELETE FROM {SEGMENTS} WHERE id = 2",
        f"DELETE FROM {ALLOWED} WHERE user_id = -1",
    ],
)
def test_statement_that_changes_no_row_writes_no_token(statement: str, tokens: Tokens) -> None:
    rows(insert(1, 1))
    tokens()
    rows(statement)
    assert tokens() == []


def test_statement_without_rows_and_without_its_history_writes_a_marked_token(
    tokens: Tokens,
) -> None:
    rows("DROP TABLE flagstaff_change CASCADE")
    rows(f"DELETE FROM {SEGMENTS}")
    assert tokens.pks() == [("s", [])]
    assert rows("SELECT entry_missing FROM flagstaff_token ORDER BY id DESC LIMIT 1") == [(True,)]


def test_marked_token_names_its_rows(tokens: Tokens) -> None:
    rows("DROP TABLE flagstaff_change CASCADE")
    rows(insert(1, 2))
    assert tokens.pks() == [("s", ["1", "2"])]
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
    assert tokens.pks() == [("s", None), ("s", None)]


def test_change_after_the_primary_key_was_renamed_succeeds_and_stands_for_any_row(
    tokens: Tokens,
) -> None:
    rows(f"ALTER TABLE {SEGMENTS} RENAME id TO number")
    rows(f"INSERT INTO {SEGMENTS} (key, conditions) VALUES ('enterprise', '[]')")
    rows(f"UPDATE {SEGMENTS} SET description = 'paying'")
    assert tokens.pks() == [("s", None), ("s", None)]
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


def test_row_whose_update_changes_nothing_is_named(tokens: Tokens) -> None:
    rows(insert(1, 1))
    rows(f"UPDATE {SEGMENTS} SET key = key")
    assert tokens.pks() == [("s", ["1"]), ("s", ["1"])]


def test_barrier_names_no_row(tokens: Tokens) -> None:
    rows("SELECT flagstaff_barrier_v1()")
    assert tokens.pks() == [("b", [])]


def test_token_has_the_id_of_its_transaction_in_a_savepoint_too() -> None:
    rows(f"SAVEPOINT one; {insert(1, 1)}")
    [[is_own]] = rows(
        "SELECT xact = pg_current_xact_id() FROM flagstaff_token ORDER BY id DESC LIMIT 1"
    )
    assert is_own
