"""Work that starts while another transaction is open."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection, transaction

from tests.support.sql import rows


def in_threads(*work: Callable[[], Any]) -> list[Any]:
    """Runs all of this at once, and returns the results."""
    barrier = Barrier(len(work))

    def run(function: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return function()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


def run_during(
    change: Callable[[], Any], work: Callable[[], Any], then: Callable[[], Any] | None = None
) -> Any:
    """Starts work while a change is uncommitted, and returns the work's result.

    As soon as the work waits for a lock, `then` is called, and the change is committed.
    """

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            future = pool.submit(run)
            while not _is_waiting_for_a_lock():
                assert not future.done(), future.result()
            if then is not None:
                then()
        return future.result()


def _is_waiting_for_a_lock() -> bool:
    [[waiting]] = rows(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks "
        "WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    return bool(waiting)
