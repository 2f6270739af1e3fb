"""Waits until the workers have applied what is committed.

After the commit a barrier is created. A worker that reports this token or a newer one has loaded
after the commit, because tokens are created in order and a load is one consistent read. A token
newer than that of the change itself would prove nothing: the change may have committed after it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from django.db import Error

from flagstaff._core import monotonic, status_report
from flagstaff._engine import direct
from flagstaff._tables.catalog import triggers_of
from flagstaff._tables.database import db, error_text, names
from flagstaff._workers.register import Worker, read_workers
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError

# Seconds between two queries: most workers need a few milliseconds, some need a reconnect.
_FIRST_SLEEP, _MAX_SLEEP = 0.005, 0.1
# The tables whose changes a worker must not miss.
_LOADED = ("flag_table", "allowed_users_table", "value_table", "segment_table")
# Seconds that most waits need. Polls are up to 10 % late, and their loads take some time.
_TIMEOUT, _POLL_JITTER, _LOAD = 5.0, 1.1, 1.0


@dataclass(frozen=True)
class Propagation:
    """Which workers have applied a change."""

    #: Whether all expected workers have applied it, all connected ones and all regions report, and
    #: at least one worker has applied it, or none was expected.
    complete: bool
    #: The number of workers that have applied it.
    applied: int = 0
    #: Workers that have not applied it.
    pending: tuple[Worker, ...] = ()
    #: Workers that stopped without their last report, or that cannot reach the database. They have
    #: not been expected since 30 s after their last report, and are listed for an hour.
    lost: tuple[Worker, ...] = ()
    #: The number of connected workers that do not report what they have applied.
    unreported: int = 0
    #: How many of the expected workers are not registered.
    missing: int = 0
    #: The regions behind replication in which no worker reports; "" is that of workers without the
    #: setting REGION.
    silent_regions: tuple[str, ...] = ()
    #: The regions that the wait has not asked, because it was told so.
    unasked_regions: tuple[str, ...] = ()
    #: The number of standbys, subscribers and backups of the server, if no worker behind
    #: replication has reported within a day.
    unknown_receivers: int = 0
    #: The duration of the wait.
    seconds: float = 0.0
    #: When the last of the `applied` workers had applied it, in seconds; None if none has.
    applied_after: float | None = None
    #: Whether evaluations query the database, so that there is nothing to wait for.
    direct: bool = False

    @property
    def registered(self) -> int:
        """The number of workers that are expected to apply it."""
        return self.applied + len(self.pending)

    def as_dict(self) -> dict[str, object]:
        """Returns the propagation as a dict that JSON can hold."""
        workers = {"pending": self.pending, "lost": self.lost}
        return {
            **vars(self),
            **{
                name: [_as_dict(worker) for worker in of_state]
                for name, of_state in workers.items()
            },
        }


def wait_for_workers(
    timeout: float | None = None, *, expect: int | None = None, regions: bool = True
) -> Propagation:
    """Waits until all workers have applied what was committed before the call.

    Call it after the commit: outside of transactions, or from `transaction.on_commit`. With
    `expect` it also waits until that many workers are registered. Without `regions`, it does not
    ask the workers behind replication, each of which logs in at the primary to reply. Without
    `timeout` it waits for 5 seconds, or for POLL_INTERVAL and a second more, if that is longer.

    Blocks for at most `timeout` seconds, or longer if the database does not respond. Raises
    PropagationError in a transaction, without the right to wait, and if the database fails.
    """
    if timeout is None:
        timeout = max(_TIMEOUT, conf.poll_interval * _POLL_JITTER + _LOAD)
    if not 0 <= timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
    try:
        forbid_transaction()
        if _is_direct():
            return Propagation(complete=True, direct=True)
        return _wait(timeout, expect, asks_regions=regions)
    except Error as error:
        raise PropagationError(
            'the workers cannot be listed: {why}; run "manage.py check --database {database}"',
            why=error_text(error),
            database=db.alias,
        ) from error


def forbid_transaction() -> None:
    """Raises PropagationError in a transaction, where nothing is committed yet."""
    connection = db.connection
    # A test case's own transaction is never committed, so it does not count.
    blocks: list[Any] = connection.atomic_blocks
    open_blocks = [block for block in blocks if not block._from_testcase]  # noqa: SLF001
    # A closed connection will commit as its settings say.
    autocommit = (
        connection.autocommit if connection.connection else connection.settings_dict["AUTOCOMMIT"]
    )
    if open_blocks or not (blocks or autocommit):
        raise PropagationError(
            "a transaction is open, and workers see a change only after its commit; "
            "call wait_for_workers() after it, or from transaction.on_commit()"
        )


def _wait(timeout: float, expect: int | None, *, asks_regions: bool) -> Propagation:
    started, sleep, most, applied_after = monotonic(), _FIRST_SLEEP, 0, None
    _require_token_triggers()
    barrier = _create_barrier(asks_regions=asks_regions)
    while True:
        register = read_workers(barrier)
        seconds = monotonic() - started
        if not register.has_barrier:
            raise PropagationError(
                "the row that this wait added to flagstaff_token no longer exists: the server was "
                "restored or replaced, or more than a thousand changes were committed; check that "
                "the change still exists, and wait again"
            )
        asked = register.expected
        if not asks_regions:
            asked = tuple(worker for worker in asked if not worker.is_replicated)
        pending = tuple(worker for worker in asked if not worker.has_applied)
        applied = len(asked) - len(pending)
        if applied > most:
            most, applied_after = applied, seconds
        missing = max(0, (expect or 0) - len(asked))
        is_over = not (pending or register.unreported or missing)
        if is_over or seconds >= timeout:
            silent_regions = register.silent_regions if asks_regions else ()
            is_confirmed = applied > 0 or expect == 0
            return Propagation(
                complete=is_over and is_confirmed and not silent_regions,
                applied=applied,
                pending=pending,
                lost=register.lost,
                unreported=register.unreported,
                missing=missing,
                silent_regions=silent_regions,
                unasked_regions=() if asks_regions else register.regions,
                unknown_receivers=register.unknown_receivers,
                seconds=seconds,
                applied_after=applied_after if applied else None,
            )
        # Short sleeps, which gevent can see.
        time.sleep(min(sleep, timeout - seconds))
        sleep = min(sleep * 1.5, _MAX_SLEEP)


def _create_barrier(*, asks_regions: bool) -> tuple[int, int | None]:
    """Creates a token, which is committed at once, and returns its id and its random number.

    A worker that has one has loaded what was committed before.
    """
    [(newest, _, created)] = db.query("barrier_v1", ["true" if asks_regions else ""])
    if newest is not None and created <= newest:
        raise PropagationError(
            "the sequence of flagstaff_token is lower than the highest id in the table, for "
            "example because the data was copied without its sequences; run: SELECT "
            "setval(pg_get_serial_sequence('flagstaff_token', 'id'), max(id)) "
            "FROM flagstaff_token;"
        )
    rows = db.query("barrier_nonce_v1", [created])
    return created, rows[0][0] if rows else None


def _require_token_triggers() -> None:
    """Raises PropagationError if a worker could have the barrier and miss the change."""
    quoted = names(db.connection)
    for triggers in triggers_of(
        db.connection, [quoted[placeholder] for placeholder in _LOADED]
    ).values():
        if not triggers.write_tokens:
            raise PropagationError(
                "a token trigger is missing or disabled, so workers see the change at their next "
                'poll and cannot confirm it; run "manage.py check --database {database}"',
                database=db.alias,
            )


def _is_direct() -> bool:
    """Returns True if evaluations query the database: on SQLite, and in tests without an engine."""
    return direct.is_required() and status_report()["mode"] in ("idle", "direct")


def _as_dict(worker: Worker) -> dict[str, object]:
    return {**worker.as_dict(), "started_at": worker.started_at.isoformat(timespec="milliseconds")}
