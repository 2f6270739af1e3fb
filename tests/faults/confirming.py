"""What a process does that waits for others; called in one by `tests.worker_process`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
from django.db import connection

from flagstaff import flag_enabled
from flagstaff._workers import wait
from flagstaff.models import FeatureFlag

__all__ = [
    "confirm",
    "confirm_after_a_change",
    "confirm_while_killed",
    "confirm_while_terminated",
    "many_changes",
]


@contextmanager
def _closing() -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


def confirm(timeout: float = 5.0, expect: int | None = None) -> dict[str, Any]:
    with _closing():
        return wait.wait_for_workers(timeout, expect=expect).as_dict()


def confirm_while_terminated(url: str, name: str, timeout: float) -> dict[str, Any]:
    """Confirm; once all have been seen, the sessions that have such a name are ended."""
    return _confirm_while(lambda: _terminate(url, name), timeout)


def confirm_while_killed(pid: int, timeout: float) -> dict[str, Any]:
    """Confirm; once all have been seen, this process is killed."""
    return _confirm_while(lambda: os.kill(pid, signal.SIGKILL), timeout)


def confirm_after_a_change(percent: int, user: int) -> tuple[dict[str, Any], bool]:
    """Confirm a change, and at once ask for its flag in this process."""
    with _closing():
        FeatureFlag.objects.update(rollout_percent=percent)
        return confirm(), flag_enabled("new_checkout", user)


def many_changes(times: int) -> list[tuple[float, int]]:
    """Confirm so many changes: from the commit on, the seconds that each took, and by how many."""
    with _closing():
        return [_change(percent=100 * (number % 2)) for number in range(times)]


def _change(percent: int) -> tuple[float, int]:
    FeatureFlag.objects.update(rollout_percent=percent)
    committed = time.monotonic()
    found = wait.wait_for_workers()
    took = time.monotonic() - committed
    assert found.complete, found
    return took, found.applied


def _confirm_while(work: Callable[[], None], timeout: float) -> dict[str, Any]:
    sleep, left = time.sleep, [work]

    def work_and_sleep(seconds: float) -> None:
        if left:
            left.pop()()
        sleep(seconds)

    with mock.patch.object(time, "sleep", work_and_sleep):
        return confirm(timeout)


def _terminate(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            [name],
        )
