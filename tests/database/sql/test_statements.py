"""Each statement writes tokens with the keys of its rows, and entries of the history."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.shop import Shop
from tests.support.sql import Tokens, copy_in, rows

FLAGS, USERS = "flagstaff_featureflag", "flagstaff_featureflag_allowed_users"
VALUES, SEGMENTS = "flagstaff_keyvaluestore", "flagstaff_segment"
CASCADES = (
    f"ALTER TABLE {USERS} ADD FOREIGN KEY {{}} ON DELETE CASCADE; SET CONSTRAINTS ALL DEFERRED"
)
BANNER = f"INSERT INTO {FLAGS} (id, key) VALUES (7, 'banner')"

WITHOUT_KEY = f"ALTER TABLE {SEGMENTS} DROP CONSTRAINT {SEGMENTS}_pkey"
MERGE = f"""
    MERGE INTO {SEGMENTS} AS s USING generate_series(1, 3) AS id ON s.id = id.id
    WHEN MATCHED AND s.id = 1 THEN DELETE
    WHEN MATCHED THEN UPDATE SET description = 'paying'
    WHEN NOT MATCHED THEN INSERT (id, key, conditions) VALUES (id.id, 'new', '[]')
"""

flags, users = FeatureFlag.objects, User.objects
ADDED, REMOVED = "m insert new_checkout", "m delete new_checkout"

# The statement, its tokens, and its entries. A token has the keys of rows, pairs of a flag and a
# user, or "any". Before, the flag new_checkout, its allowed user alice, the value payment_gateway
# and the segment enterprise have the primary key 1; bob and the segment german have 2.
STATEMENTS: dict[str, tuple[str | Callable[[], object], str, str]] = {
    # Flags.
    "save without a change": (lambda: flags.get().save(), "f 1", ""),
    "update": (lambda: flags.update(enabled=False), "f 1", "f update new_checkout"),
    "update to the same": (lambda: flags.update(enabled=True), "f 1", ""),
    "rename": (lambda: flags.update(key="checkout"), "f 1", "f update checkout"),
    "create": (lambda: flags.create(pk=7, key="banner"), "f 7", "f insert banner"),
    "bulk_create": (
        lambda: flags.bulk_create(FeatureFlag(pk=pk, key=f"k{pk}") for pk in (7, 8)),
        "f 7 8",
        "f insert k7; f insert k8",
    ),
    "delete": (
        lambda: flags.get().delete(),
        "f 1; m 1/1",
        "f delete new_checkout; m delete new_checkout",
    ),
    "INSERT": (BANNER, "f 7", "f insert banner"),
    "COPY": (
        lambda: copy_in(f"{FLAGS} (id, key)", "7\ta\n8\tb\n"),
        "f 7 8",
        "f insert a; f insert b",
    ),
    "ON CONFLICT DO NOTHING": (
        f"INSERT INTO {FLAGS} (key) VALUES ('new_checkout') ON CONFLICT DO NOTHING",
        "",
        "",
    ),
    "ON CONFLICT DO UPDATE": (
        f"{BANNER}, (8, 'new_checkout') ON CONFLICT (key) DO UPDATE SET enabled = false",
        "f 1; f 7",
        "f insert banner; f update new_checkout",
    ),
    "UPDATE of a view": (
        f"CREATE TEMP VIEW seen AS TABLE {FLAGS}; UPDATE seen SET enabled = false",
        "f 1",
        "f update new_checkout",
    ),
    "UPDATE at a cursor": (
        (
            f"DECLARE c CURSOR FOR SELECT FROM {FLAGS} FOR UPDATE; MOVE c; "
            f"UPDATE {FLAGS} SET enabled = false WHERE CURRENT OF c"
        ),
        "f 1",
        "f update new_checkout",
    ),
    "UPDATE of no row": (f"UPDATE {FLAGS} SET enabled = false WHERE id = 9", "", ""),
    "DELETE of no row": (f"DELETE FROM {FLAGS} WHERE id = 9", "", ""),
    "DELETE that cascades": (
        f"{CASCADES.format(f'(featureflag_id) REFERENCES {FLAGS}')}; DELETE FROM {FLAGS}",
        "f 1; m 1/1",
        "f delete new_checkout; m delete new_checkout",
    ),
    "TRUNCATE that cascades": (
        f"TRUNCATE {FLAGS} CASCADE",
        "f any; m any",
        "f truncate new_checkout; m truncate new_checkout",
    ),
    # Allowed users.
    "add": (lambda: flags.get().allowed_users.add(2), "m 1/2", ADDED),
    "remove": (lambda: flags.get().allowed_users.remove(1), "m 1/1", REMOVED),
    "set": (
        lambda: flags.get().allowed_users.set([2]),
        "m 1/1; m 1/2",
        "m delete new_checkout; m insert new_checkout",
    ),
    "add to the user": (lambda: users.get(pk=2).flagstaff_flags.add(1), "m 1/2", ADDED),
    "clear for the user": (lambda: users.get(pk=1).flagstaff_flags.set([]), "m 1/1", REMOVED),
    "deletion of the user": (lambda: users.get(pk=1).delete(), "m 1/1", REMOVED),
    "deletion of the user that cascades": (
        f"{CASCADES.format('(user_id) REFERENCES auth_user')}; DELETE FROM auth_user",
        "m 1/1",
        REMOVED,
    ),
    "INSERT of several": (
        f"DELETE FROM {USERS}; INSERT INTO {USERS} (featureflag_id, user_id) VALUES (1, 1), (1, 2)",
        "m 1/1; m 1/1 1/2",
        "m delete new_checkout; m insert new_checkout",
    ),
    "UPDATE": (f"UPDATE {USERS} SET user_id = 2", "m 1/1 1/2", "m update new_checkout"),
    "WITH": (f"WITH gone AS (DELETE FROM {USERS} RETURNING 1) TABLE gone", "m 1/1", REMOVED),
    "UPDATE to the same": (f"UPDATE {USERS} SET user_id = user_id", "m 1/1", ""),
    "TRUNCATE": (f"TRUNCATE {USERS}", "m any", "m truncate new_checkout"),
    "COPY of users": (
        lambda: copy_in(f"{USERS} (featureflag_id, user_id)", "1\t2\n"),
        "m 1/2",
        ADDED,
    ),
    # Values and segments.
    "create a value": (
        lambda: KeyValueStore.objects.create(pk=7, key="limit", value=25),
        "k 7",
        "k insert limit",
    ),
    "another primary key": (
        f"UPDATE {VALUES} SET id = 7",
        "k 1 7",
        "k delete payment_gateway; k insert payment_gateway",
    ),
    "DELETE of values": (f"DELETE FROM {VALUES}", "k 1", "k delete payment_gateway"),
    "TRUNCATE of values": (f"TRUNCATE {VALUES}", "k any", "k truncate payment_gateway"),
    "UPDATE of some segments": (
        f"UPDATE {SEGMENTS} SET description = 'x' WHERE id > 1",
        "s 2",
        "s update german",
    ),
    "swapped primary keys": (
        f"{WITHOUT_KEY}; UPDATE {SEGMENTS} SET id = 3 - id",
        "s 1 1 2 2",
        "s update enterprise; s update german",
    ),
    "MERGE": (MERGE, "s 1; s 2; s 3", "s delete enterprise; s insert new; s update german"),
    "barrier": ("SELECT flagstaff_barrier_v1()", "b", ""),
}


@pytest.mark.parametrize(("statement", "tokens", "entries"), STATEMENTS.values(), ids=STATEMENTS)
def test_statement_writes_tokens_with_the_keys_of_its_rows_and_entries_of_its_changes(
    statement: str | Callable[[], object], tokens: str, entries: str, shop: Shop
) -> None:
    [[version]] = rows("SELECT current_setting('server_version_num')::int")
    if statement == MERGE and version < 150_000:
        pytest.skip("MERGE requires PostgreSQL 15")
    shop.flag(pk=1)
    shop.user("bob")
    shop.value(pk=1)
    shop.segment(pk=1)
    shop.segment("german", pk=2)
    # Deferred constraints would block TRUNCATE and ALTER TABLE.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    written, newest = Tokens(), Change.objects.latest("id").pk
    if isinstance(statement, str):
        rows(statement)
    else:
        statement()
    assert "; ".join(sorted(written.texts())) == tokens
    recorded = Change.objects.filter(id__gt=newest).values_list("relation", "action", "key")
    assert "; ".join(sorted(" ".join(entry) for entry in recorded)) == entries
