"""Limits of the keys that a token carries, and tables where it carries none."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff.models import Segment
from tests.support.shop import Shop
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
