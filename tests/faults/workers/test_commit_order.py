"""Transactions that commit in another order than they wrote. Polls must see each commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.support.repeats import repeats
from tests.support.workers import Worker

pytestmark = pytest.mark.timeout(180)

POLL_INTERVAL = 0.1
TURNS = repeats(10, 3)
WRITE = (
    "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


@pytest.fixture
def polling(database: str) -> Iterator[Worker]:
    """A worker that polls and does not listen."""
    with Worker(database, LISTEN=False, POLL_INTERVAL=POLL_INTERVAL).loaded() as worker:
        assert worker.ask("mode") == "poll"
        yield worker


def test_commits_in_reverse_order_of_their_writes_are_each_seen(
    database: str, polling: Worker
) -> None:
    with ExitStack() as stack:
        sessions = {
            key: stack.enter_context(psycopg.connect(database)) for key in ("one", "two", "three")
        }
        for turn in range(TURNS):
            for key, session in sessions.items():
                session.execute(WRITE, [key, str(turn)])
            for key, session in reversed(sessions.items()):
                session.commit()
                polling.sees(["get_value", key], turn, within=POLL_INTERVAL + 1)


def test_write_in_a_released_savepoint_is_seen_after_later_commits(
    database: str, polling: Worker
) -> None:
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        for turn in range(TURNS):
            with first.transaction():
                with first.transaction():
                    first.execute(WRITE, ["first", str(turn)])
                with first.transaction(force_rollback=True):
                    first.execute(WRITE, ["first", '"undone"'])
                second.execute(WRITE, ["second", str(turn)])
                second.commit()
                polling.sees(["get_value", "second"], turn, within=POLL_INTERVAL + 1)
            polling.sees(["get_value", "first"], turn, within=POLL_INTERVAL + 1)
