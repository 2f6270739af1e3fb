"""A token that prunes others says which: a load can tell their end from a change."""

from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import pytest

from tests.support.sql import rolled_back, rows

#: Relation, id and nonce.
Token = tuple[str, int, int]
OpenSession = Callable[[], "psycopg.Connection[Any]"]

TOKENS = "SELECT relation::text, id, nonce FROM flagstaff_token"
# Enough that each 64th token prunes.
FILL = """
    SELECT flagstaff_write_token_v1(('{f,k,k}'::"char"[])[1 + n % 3], NULL)
    FROM generate_series(1, 1100) AS n
"""
PRUNE = "SELECT flagstaff_barrier_v1() FROM generate_series(1, 64)"


@pytest.fixture(autouse=True)
def no_tokens(db: None) -> None:
    """Those of other tests would be pruned, too."""
    rows("DELETE FROM flagstaff_token")


def stored() -> set[Token]:
    return {*rows(TOKENS)}


def removed() -> list[str]:
    """What the stored tokens have removed, each relation as often as it occurs."""
    return [item for [item] in rows("SELECT unnest(removed) FROM flagstaff_token")]


def sums(tokens: Iterable[Token]) -> set[str]:
    """As a token has them that removed these."""
    by_relation: dict[str, list[Token]] = {}
    for token in tokens:
        by_relation.setdefault(token[0], []).append(token)
    return {
        f"{relation} {len(many)} {sum(row[1] for row in many)} {sum(row[2] for row in many)}"
        for relation, many in by_relation.items()
    }


def test_token_has_the_sums_of_each_relation_that_it_pruned() -> None:
    rows(FILL)
    removed: list[str] | None = None
    while removed is None:
        before = stored()
        [[token]] = rows("SELECT flagstaff_barrier_v1()")
        [[removed]] = rows("SELECT removed FROM flagstaff_token WHERE id = %s", token)
    pruned = before - stored()
    assert {relation for relation, *_ in pruned} == {"f", "k"}
    assert (len(removed), {*removed}) == (2, sums(pruned))
    [[newest, own]] = rows("SELECT removed_xact, xact FROM flagstaff_token WHERE id = %s", token)
    # Those of this test are all of one transaction.
    assert newest == own


def test_newest_token_of_each_relation_is_kept() -> None:
    for relation in "ssm":
        rows(f"SELECT flagstaff_write_token_v1('{relation}', NULL)")
    kept = {max(token for token in stored() if token[0] == relation) for relation in "sm"}
    rows(FILL)
    rows(PRUNE)
    assert {token for token in stored() if token[0] in "sm"} == kept


def test_token_that_prunes_nothing_says_so() -> None:
    rows(PRUNE)
    assert removed() == []


def test_rolled_back_savepoint_leaves_all_tokens_and_no_sums() -> None:
    rows(FILL)
    before = stored(), removed()
    with rolled_back():
        rows(PRUNE)
        assert len(removed()) > len(before[1])
    assert (stored(), removed()) == before


def test_writers_that_prune_at_the_same_time_count_each_token_once(
    open_session: OpenSession,
) -> None:
    # These tokens are not pruned yet.
    session = open_session()
    session.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    session.execute("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")
    session.commit()
    created = stored()
    sessions = open_session(), open_session()
    for session in sessions:
        session.execute(PRUNE)
        created.update(session.execute(f"{TOKENS} WHERE xact = pg_current_xact_id()"))
    for session in sessions:
        session.commit()
    counted = [[int(number) for number in item.split()[1:]] for item in removed()]
    totals = [sum(numbers) for numbers in zip(*counted, strict=True)]
    assert len(counted) == 2
    assert {f"b {' '.join(map(str, totals))}"} == sums(created - stored())


def test_writer_succeeds_if_another_has_pruned_the_rows_of_its_snapshot(
    open_session: OpenSession,
) -> None:
    writer, other = open_session(), open_session()
    other.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    other.execute("SELECT flagstaff_barrier_v1() FROM generate_series(1, 2000)")
    other.commit()
    writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    writer.execute("SELECT count(*) FROM flagstaff_token")
    other.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    other.execute(PRUNE)
    other.commit()
    before = stored()
    writer.execute(PRUNE)
    writer.commit()
    assert (len(stored() - before), before - stored()) == (64, set())
