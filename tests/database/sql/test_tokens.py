"""Change tokens in transactions, sessions and roles; test_statements.py has all statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from flagstaff._tables.names import fill, names, sql
from flagstaff.models import FeatureFlag
from tests.support.shop import Shop
from tests.support.sql import Tokens, rows

pytestmark = pytest.mark.django_db
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
    with transaction.atomic():
        flag.save()
        transaction.set_rollback(True)
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
