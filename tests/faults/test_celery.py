"""Celery's prefork pool, whose parent has asked before it forks, or has not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.served.broker import application, deliver
from tests.faults.servers import FRESH, PATIENCE, Server, program
from tests.sessions import Sessions, within

pytestmark = pytest.mark.timeout(120)
CHILDREN = 2
Query = Callable[..., Any]


class Ask:
    """Has two tasks run for each child, and gives back what they answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._app = application(folder)

    def to_do(self, name: str, *arguments: Any) -> Any:
        """Have a task done, and give back what it answers."""
        task = self._app.send_task(name, arguments)
        deliver(self.folder)
        return task.get(timeout=PATIENCE, interval=0.01)

    def __call__(self) -> list[dict[str, Any]]:
        tasks = [self._app.send_task("answer") for _ in range(2 * CHILDREN)]
        deliver(self.folder)
        return [task.get(timeout=PATIENCE, interval=0.01) for task in tasks]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    return Ask(tmp_path)


def celery(database: str, folder: Path, **variables: str) -> Server:
    options = ["worker", "--pool=prefork", f"--concurrency={CHILDREN}", "--loglevel=INFO"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [program("celery"), "--app=tests.faults.served.tasks", *options, *quiet]
    return Server(*command, database=database, CELERY_FOLDER=str(folder), **variables)


def from_each_child(ask: Ask, agreed: Callable[[dict[str, Any]], bool]) -> list[int]:
    """The children's ids, once each of them has given such an answer."""
    found: set[int] = set()

    def all_have_answered() -> bool:
        found.update(answer["pid"] for answer in ask() if agreed(answer))
        return len(found) == CHILDREN

    assert within(PATIENCE, all_have_answered)
    return sorted(found)


@pytest.mark.parametrize("variables", [{}, {"ASK_EARLY": "1"}], ids=["", "asked before the fork"])
def test_each_child_answers_at_once_and_sees_a_change_with_one_connection(
    variables: dict[str, str], database: str, query: Query, sessions: Sessions, ask: Ask
) -> None:
    with celery(database, ask.folder, **variables) as server:
        answers = ask()
        assert {answer["gateway"] for answer in answers} == {"stripe"}
        children = from_each_child(ask, lambda answer: answer["gateway"] == "stripe")
        everybody = sorted([*([server.pid] if variables else []), *children])
        assert within(2, lambda: sorted(s.owner for s in sessions()) == everybody), sessions()
        before = sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        time.sleep(FRESH)
        assert {answer["gateway"] for answer in ask()} == {"paypal"}
        assert from_each_child(ask, lambda answer: answer["gateway"] == "paypal") == children
        assert sessions() == before
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()


def test_change_of_a_task_is_told_of_whom_the_task_names(
    database: str, query: Query, ask: Ask
) -> None:
    query("TRUNCATE flagstaff_change")
    with celery(database, ask.folder, ASK_EARLY="1"):
        # Some of them in the process in which somebody has just been named.
        tasks = [(percent, "7" if percent % 2 else None) for percent in range(40, 60)]
        processes = {ask.to_do("change", *arguments) for arguments in tasks}
    assert len(processes) <= CHILDREN
    [told] = query(
        "SELECT json_agg(ARRAY[old ->> 'rollout_percent', new ->> 'rollout_percent', actor, "
        "source, reason] ORDER BY id) FROM flagstaff_change"
    )
    assert told == [
        [str(percent - 1 if percent > 40 else 33), str(percent)]
        + ([actor, "code", "at night"] if actor else [None] * 3)
        for percent, actor in tasks
    ]


def test_pool_that_is_told_to_stop_has_written_down_every_question(
    database: str, query: Query, ask: Ask
) -> None:
    with celery(database, ask.folder):
        children = {ask.to_do("survey", 500) for _ in range(20)}
    assert query("SELECT sum(yes + no)::int FROM flagstaff_usage") == (20 * 500,)
    told = "SELECT array_agg(pid ORDER BY pid), count(stopped_at) FROM flagstaff_usage_worker"
    assert query(told) == (sorted(children), len(children))


def test_child_that_is_killed_leaves_nothing_and_its_parent_alone(
    database: str, sessions: Sessions, ask: Ask
) -> None:
    with celery(database, ask.folder, ASK_EARLY="1") as server:
        children = from_each_child(ask, lambda answer: answer["mode"] == "live")
        [parent] = [s for s in sessions() if s.owner == server.pid]
        os.kill(children[0], signal.SIGKILL)
        assert within(5, lambda: children[0] not in [s.owner for s in sessions()])
        assert parent in sessions()
        # In order it could not: the pool's own lock may have died with the child.
        server.end(signal.SIGKILL)
    assert within(2, lambda: sessions() == [])


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_worker_that_ends_leaves_nothing(
    by: signal.Signals, database: str, sessions: Sessions, ask: Ask
) -> None:
    with celery(database, ask.folder, ASK_EARLY="1") as server:
        from_each_child(ask, lambda answer: answer["mode"] == "live")
        begun = time.monotonic()
        status = server.end(by)
        print(f"{by.name}: {status} after {time.monotonic() - begun:.2f} s")
    assert "Fatal" not in server.log()
    assert within(5, lambda: sessions() == [])
