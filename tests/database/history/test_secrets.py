"""The history stores of a secret value only that its value, choices or rules were set."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection

from flagstaff import changes
from flagstaff.history import as_csv, as_dicts, prune
from flagstaff.history.describe import describe_change
from flagstaff.models import Change, KeyValueStore
from tests.support.concurrency import run_during
from tests.support.history import value_history
from tests.support.sql import rolled_back, rows, without_table

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_history")]

RULES = [{"conditions": [], "value": "sesame"}]
BECOME_SECRET = "UPDATE flagstaff_keyvaluestore SET secret = true"


@pytest.fixture
def token() -> KeyValueStore:
    """A value that is secret from its creation."""
    return KeyValueStore.objects.create(
        key="token", value="hunter2", secret=True, choices=["hunter2", "hunter3"]
    )


@pytest.fixture
def gateway() -> KeyValueStore:
    """A value that was public, with three changes: all of a value, choices and a description."""
    row = KeyValueStore.objects.create(key="gateway", value="hunter1")
    changes.values.update("gateway", {"description": "For the shop"})
    KeyValueStore.objects.update(value="hunter2", choices=["hunter2", "hunter3"])
    return row


def stored() -> str:
    """Everything that the history stores."""
    return json.dumps(rows("SELECT to_jsonb(c) FROM flagstaff_change AS c"))


def hidden() -> list[object]:
    """The hidden columns of each entry, newest first."""
    return [*Change.objects.newest().values_list("hidden", flat=True)]


WRITES: dict[str, tuple[Callable[[], object], list[str] | None]] = {
    "value": (lambda: changes.values.set("token", "hunter3"), ["value"]),
    "value in SQL": (lambda: KeyValueStore.objects.update(value=[]), ["value"]),
    "choices": (lambda: KeyValueStore.objects.update(choices=["hunter3"]), ["choices"]),
    "no choices": (lambda: KeyValueStore.objects.update(choices=[]), ["choices"]),
    "rules": (lambda: KeyValueStore.objects.update(rules=RULES), ["rules"]),
    "description": (lambda: KeyValueStore.objects.update(description="Mail"), None),
    "deletion": (lambda: KeyValueStore.objects.all().delete(), ["value", "choices"]),
    "truncation": (lambda: rows("TRUNCATE flagstaff_keyvaluestore"), ["value", "choices"]),
    "made public": (lambda: KeyValueStore.objects.update(secret=False), None),
    "published": (lambda: KeyValueStore.objects.update(secret=False, value="hunter3"), ["value"]),
}


@pytest.mark.parametrize(("write", "expected"), WRITES.values(), ids=WRITES)
def test_entry_of_a_secret_value_names_the_columns_and_stores_none(
    write: Callable[[], object], expected: list[str] | None, token: KeyValueStore
) -> None:
    assert hidden() == [["value", "choices"]]
    write()
    assert hidden() == [expected, ["value", "choices"]]
    newest = value_history("token")[0]
    assert {difference.field for difference in newest.differences if difference.secret} == {
        *(expected or ())
    }
    for entry in Change.objects.newest():
        for side in (entry.old, entry.new):
            assert {"value", "choices", "rules"}.isdisjoint(side or {})


def test_secret_changes_are_masked_wherever_they_are_shown(token: KeyValueStore) -> None:
    changes.values.set("token", "hunter3")
    events = value_history("token")
    assert describe_change(events[0]) == "value •••••• → ••••••"
    assert describe_change(events[1]) == "created, value ••••••, secret true"
    assert "hunter" not in json.dumps(as_dicts(events)) + as_csv(events)
    # A value that is public again has its later values in the history.
    changes.values.update("token", {"secret": False})
    changes.values.set("token", "hunter2")
    assert 'value "hunter3" → "hunter2"' in describe_change(value_history("token")[0])


BECOMES_SECRET: dict[str, Callable[[], object]] = {
    "update": lambda: changes.values.update("gateway", {"secret": True}),
    "with another value": lambda: changes.values.update(
        "gateway", {"secret": True, "value": "hunter3"}
    ),
    "SQL": lambda: rows(BECOME_SECRET),
    "upsert": lambda: rows(
        "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '1') "
        "ON CONFLICT (key) DO UPDATE SET secret = true"
    ),
    "with another primary key": lambda: rows(f"{BECOME_SECRET}, id = id + 1000"),
    "with another key": lambda: rows(f"{BECOME_SECRET}, key = 'token'"),
    "after its primary key": lambda: rows(
        f"UPDATE flagstaff_keyvaluestore SET id = id + 1000; {BECOME_SECRET}"
    ),
    "created again": lambda: (
        changes.values.delete("gateway"),
        changes.values.create("gateway", "hunter1", secret=True),
    ),
    "created with the primary key": lambda: (
        changes.values.delete("gateway"),
        KeyValueStore.objects.create(
            pk=Change.objects.latest("id").object_pk, key="token", value="hunter1", secret=True
        ),
    ),
}


@pytest.mark.parametrize("write", BECOMES_SECRET.values(), ids=BECOMES_SECRET)
def test_value_that_becomes_secret_is_removed_from_its_earlier_entries(
    write: Callable[[], object], gateway: KeyValueStore
) -> None:
    write()
    assert "hunter" not in stored()
    assert "For the shop" in stored()
    assert hidden()[-3:] == [["value", "choices"], None, ["value"]]


def test_column_that_the_history_cannot_store_blocks_no_change(gateway: KeyValueStore) -> None:
    rows("ALTER TABLE flagstaff_keyvaluestore ADD COLUMN extra json")
    try:
        rows("""UPDATE flagstaff_keyvaluestore SET extra = '"\\u0000"'""")
        KeyValueStore.objects.update(value="hunter9")
    finally:
        rows("ALTER TABLE flagstaff_keyvaluestore DROP COLUMN extra")
    assert KeyValueStore.objects.get().value == "hunter9"


def test_other_values_and_rolled_back_changes_keep_their_entries(gateway: KeyValueStore) -> None:
    changes.values.create("limit", "hunter9")
    before = stored()
    with rolled_back():
        changes.values.update("gateway", {"secret": True})
    assert stored() == before
    changes.values.update("gateway", {"secret": True})
    assert stored().count("hunter9") == 1
    # Of what is pruned, nothing is left to remove.
    prune(timedelta(0))
    rows("UPDATE flagstaff_keyvaluestore SET secret = true")
    assert "hunter1" not in stored()


def test_entry_of_a_transaction_that_has_just_ended_is_removed_too(gateway: KeyValueStore) -> None:
    run_during(
        lambda: KeyValueStore.objects.update(value="hunter4"),
        lambda: changes.values.update("gateway", {"secret": True}),
    )
    assert "hunter" not in stored()


def test_value_does_not_become_secret_while_its_entries_cannot_be_removed(
    gateway: KeyValueStore, token: KeyValueStore
) -> None:
    with closing(connection.copy()) as other, other.cursor() as cursor:
        other.set_autocommit(False)
        cursor.execute("SELECT FROM flagstaff_change FOR UPDATE")
        with pytest.raises(DatabaseError, match="lock timeout"):
            rows(BECOME_SECRET)
    with without_table("flagstaff_change"):
        with pytest.raises(DatabaseError, match="flagstaff_change"):
            rows(BECOME_SECRET)
        # All other changes succeed without an entry.
        KeyValueStore.objects.filter(key="gateway").update(value="hunter5")
        KeyValueStore.objects.filter(key="token").update(value="hunter6")
        KeyValueStore.objects.create(key="password", value="hunter7", secret=True)
    assert [row.secret for row in KeyValueStore.objects.order_by("key")] == [False, True, True]
