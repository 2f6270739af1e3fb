"""Commands of a process that waits for workers; `tests.support.worker_process` calls them."""

import os
import time
from typing import Any
from unittest import mock

import psycopg

from flagstaff import flag_enabled
from flagstaff._workers import wait
from flagstaff.models import FeatureFlag
from tests.support.sql import rows


def wait_for_workers(timeout: float = 5.0, expect: int | None = None) -> dict[str, Any]:
    return wait.wait_for_workers(timeout, expect=expect).as_dict()


def wait_while_terminating(url: str, name: str, timeout: float) -> dict[str, Any]:
    """Waits, and meanwhile terminates the sessions whose application_name is LIKE `name`.

    That is at the first sleep, after the list of workers was read.
    """
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s"
    )
    sleep, remaining = time.sleep, [name]

    def terminate_and_sleep(seconds: float) -> None:
        if remaining:
            with psycopg.connect(url, autocommit=True) as session:
                session.execute(terminate, [remaining.pop()])
        sleep(seconds)

    with mock.patch.object(time, "sleep", terminate_and_sleep):
        return wait_for_workers(timeout)


def change_and_wait(percent: int, user: int) -> tuple[dict[str, Any], bool]:
    """Changes a rollout, waits for the workers, and evaluates the flag in this process."""
    FeatureFlag.objects.update(rollout_percent=percent)
    return wait_for_workers(), flag_enabled("new_checkout", user)


def change_repeatedly(times: int) -> list[tuple[float, int]]:
    """Returns for each change the seconds since its commit, and how many workers applied it."""
    made = []
    for number in range(times):
        FeatureFlag.objects.update(rollout_percent=100 * (number % 2))
        committed = time.monotonic()
        propagation = wait.wait_for_workers(30)
        assert propagation.complete, propagation
        made.append((time.monotonic() - committed, propagation.applied))
    return made


def rows_of_this_process() -> list[str]:
    """The keys of the rows in the register that this process has written, once there is one."""
    registered: list[Any] = []
    while not registered:
        registered = rows("SELECT worker FROM flagstaff_worker WHERE pid = %s", os.getpid())
    return [key for (key,) in registered]
