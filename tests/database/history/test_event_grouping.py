"""What one event is: the history, undo and webhooks group entries in the same way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flagstaff._tables.names import fill, own_names, sql
from flagstaff.changes.undoing.selection import select_versions
from flagstaff.history import entries as reader
from flagstaff.history.grouping import COLUMNS, group_entries
from flagstaff.models import Change
from tests.support.history import flag_history, segment_history, value_history

pytestmark = pytest.mark.django_db

RECEIVER = "receiver"
TABLES = ("flagstaff_featureflag", "flagstaff_keyvaluestore", "flagstaff_segment")
INSERT = """
    INSERT INTO flagstaff_change
        (transaction_id, relation, object_table, object_pk, key, action, old, new, actor, role)
    SELECT number, relation, CASE relation
            WHEN 'k' THEN 'flagstaff_keyvaluestore'::regclass WHEN 's' THEN 'flagstaff_segment'
            ELSE 'flagstaff_featureflag' END,
        pk, 'key', 'update', old::jsonb, new::jsonb, actor, role
    FROM (VALUES (%s, %s::"char", %s, %s, %s, %s, %s))
        AS entry (number, relation, pk, old, new, actor, role)
    RETURNING id
"""

# Transaction, relation, primary key, actor, role. Few of each, so that many belong together.
ENTRIES = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from("fmks"),
        st.sampled_from("12"),
        st.sampled_from([None, "ana", "ben"]),
        st.sampled_from(["app", "dba"]),
    ),
    max_size=16,
)
EXAMPLES = settings(
    max_examples=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

ANA = (1, "f", "1", "ana", "app")
BEN = (1, "f", "1", "ben", "app")
OTHER_FLAG = (1, "f", "2", "ana", "app")
OTHER_TRANSACTION = (2, "f", "1", "ana", "app")
USERS = (1, "m", "1", "ana", "app")
VALUE = (1, "k", "1", "ana", "app")
SEGMENT = (1, "s", "1", "ana", "app")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events begin in one batch and end in another."""
    monkeypatch.setattr(reader, "_FIRST_BATCH", 2)
    monkeypatch.setattr(reader, "_MAX_BATCH", 3)


def insert(entries: list[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM flagstaff_change")
        run(cursor, "create_receiver_v1", RECEIVER)
        return [insert_one(cursor, *entry) for entry in entries]


def insert_one(cursor: Any, transaction_id: int, relation: str, pk: str, *author: Any) -> int:
    side = json.dumps([] if relation == "m" else {"enabled": True})
    cursor.execute(INSERT, [transaction_id, relation, pk, side, side, *author])
    return int(cursor.fetchone()[0])


def run(cursor: Any, file: str, *parameters: Any) -> None:
    cursor.execute(fill(sql(file), own_names(connection)), parameters)


def groups_in_sql() -> list[list[int]]:
    """Returns the ids of each event as webhooks take them, by the newest id."""
    with connection.cursor() as cursor:
        run(cursor, "lock_receiver_v1", RECEIVER)
        newest, open_transactions, known = cursor.fetchone()
        names = RECEIVER, RECEIVER
        run(cursor, "enqueue_changes_v1", *TABLES, newest, newest, open_transactions, known, *names)
        cursor.execute("SELECT entry_ids FROM flagstaff_delivery ORDER BY id")
        return [list(ids) for (ids,) in cursor.fetchall()]


def groups_in_python() -> list[list[int]]:
    newest_first = Change.objects.order_by("-id").values(*COLUMNS)
    groups = [[entry["id"] for entry in reversed(one)] for one in group_entries(newest_first)]
    return sorted(groups, key=max)


def all_events() -> list[Any]:
    return [
        *flag_history(limit=None),
        *value_history(limit=None),
        *segment_history(limit=None),
    ]


@EXAMPLES
@given(entries=ENTRIES)
@example(entries=[ANA, BEN, ANA])
@example(entries=[ANA, OTHER_TRANSACTION, ANA])
@example(entries=[ANA, OTHER_FLAG, USERS, VALUE, SEGMENT, BEN, ANA])
def test_grouping_in_python_and_in_sql_agree(entries: list[Any]) -> None:
    with transaction.atomic():
        insert(entries)
        assert groups_in_python() == groups_in_sql()
        transaction.set_rollback(True)


@pytest.mark.thorough
@EXAMPLES
@given(entries=ENTRIES)
@example(entries=[ANA, OTHER_TRANSACTION, ANA])
def test_history_and_undo_have_the_same_events(entries: list[Any]) -> None:
    with transaction.atomic():
        insert(entries)
        groups = {(ids[0], ids[-1]) for ids in groups_in_python()}
        events = all_events()
        assert len(events) == len(groups)
        assert {(event.first, event.version) for event in events} == groups
        for event in events:
            for entry in (event.first, event.version):
                [selected] = select_versions([entry])
                assert selected.events == ((event.first, event.version),)
        transaction.set_rollback(True)


@pytest.mark.thorough
@EXAMPLES
@given(entries=ENTRIES, limit=st.integers(1, 3))
@example(entries=[ANA, OTHER_TRANSACTION, ANA], limit=1)
@example(entries=[ANA, OTHER_FLAG, ANA], limit=1)
@example(entries=[ANA, OTHER_FLAG, ANA, OTHER_FLAG, ANA], limit=1)
def test_pages_have_each_event_once(entries: list[Any], limit: int) -> None:
    with transaction.atomic():
        insert(entries)
        events = flag_history(limit=None)
        paged = page = flag_history(limit=limit)
        while page:
            page = flag_history(limit=limit, before=page[-1].version)
            paged = paged + page
        assert paged == events
        assert [event.version for event in events] == sorted(
            (event.version for event in events), reverse=True
        )
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([ANA, ANA], [[0, 1]]),
        ([ANA, USERS], [[0, 1]]),
        ([ANA, BEN, ANA], [[0], [1], [2]]),
        ([ANA, OTHER_FLAG], [[0], [1]]),
        ([ANA, VALUE], [[0], [1]]),
        ([ANA, OTHER_TRANSACTION], [[0], [1]]),
        ([ANA, OTHER_TRANSACTION, ANA], [[1], [0, 2]]),
        ([ANA, OTHER_FLAG, ANA], [[1], [0, 2]]),
    ],
)
def test_event_is_one_transaction_flag_and_author(
    entries: list[Any], expected: list[list[int]]
) -> None:
    ids = insert(entries)
    assert groups_in_python() == [[ids[place] for place in group] for group in expected]


def test_event_of_a_reused_transaction_number_is_another() -> None:
    old, new = insert([ANA, ANA])
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_change SET at = at - interval '9 days' WHERE id = %s", [old]
        )
    assert groups_in_python() == [[old], [new]]
    assert [event.version for event in flag_history()] == [new, old]
