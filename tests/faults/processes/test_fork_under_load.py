"""os.fork during changes and loads, two hundred times."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.fixtures import Query
from tests.support.repeats import repeats
from tests.support.sessions import Sessions, only_session, within
from tests.support.workers import GATEWAY, Worker

TIMES = repeats(200, 40)
EXITS = ["sys.exit", "os._exit", "kill"]


@contextmanager
def changing(database: str) -> Iterator[list[int]]:
    """Increments the value constantly; yields what was committed."""
    committed, stop = [0], threading.Event()

    def change() -> None:
        statement = "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)"
        with psycopg.connect(database, autocommit=True) as session:
            while not stop.wait(0.005):
                session.execute(statement, [committed[-1] + 1])
                committed.append(committed[-1] + 1)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield committed
    finally:
        stop.set()
        thread.join()


@pytest.mark.smoke
@pytest.mark.timeout(300)
def test_forked_children_evaluate_and_are_fresh_once_they_are_live(
    database: str, query: Query, worker: Worker, sessions: Sessions
) -> None:
    query("UPDATE flagstaff_keyvaluestore SET value = '0'")
    worker.sees(GATEWAY, 0, within=5)
    parent = only_session(sessions)
    child = [GATEWAY, ["until", ["mode"], "live", 30], GATEWAY]
    worker.ask("reload_constantly")
    with changing(database) as committed:
        for number in range(TIMES):
            before = committed[-1]
            inherited, took, fresh = worker.ask("in_fork", EXITS[number % 3], child)
            assert inherited is not None
            assert took is not None
            assert fresh >= before
    assert worker.ask("watched") == []
    assert worker.ask("status")["failures"] == 0
    assert within(2, lambda: sessions() == [parent])
