"""The signals of Celery's tasks, in the orders in which Celery sends them."""

from collections.abc import Iterator
from itertools import count

import pytest

tasks = pytest.importorskip("flagstaff.rollouts.celery", reason="needs Celery")


class Recorded:
    """Records how it ended, instead of counting users."""

    def __init__(self, log: list[tuple[int, bool]], number: int) -> None:
        self.log, self.number, self.failed = log, number, False

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append((self.number, self.failed))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, bool]]]:
    """The observations that ended: the number in the order of their start, and whether failed."""
    log: list[tuple[int, bool]] = []
    numbers = count(1)
    monkeypatch.setattr(tasks, "Observation", lambda: Recorded(log, next(numbers)))
    yield log
    assert tasks._observed == {}


def test_failed_task_is_counted_as_failed_and_an_end_without_a_start_is_ignored(
    log: list[tuple[int, bool]],
) -> None:
    tasks._begin(task_id="a")
    tasks._note_failure(task_id="a")
    tasks._end(task_id="a")
    assert log == [(1, True)]
    tasks._end(task_id="a")
    tasks._note_failure(task_id="a")
    assert log == [(1, True)]


def test_eager_retry_with_the_same_id_ends_both(log: list[tuple[int, bool]]) -> None:
    tasks._begin(task_id="a")
    tasks._begin(task_id="a")
    tasks._note_failure(task_id="a")
    tasks._end(task_id="a")
    tasks._end(task_id="a")
    assert log == [(2, True), (1, False)]
