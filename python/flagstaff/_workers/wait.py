"""Waits until the connected workers have applied what is committed.

After the commit a barrier is created. A worker that shows this token or a newer one has loaded
after the commit, because tokens are created in order and a load is one consistent read. A token
newer than that of the change itself would prove nothing: the change may have committed after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.aliases import server_address
from flagstaff._core import monotonic, status_report
from flagstaff._engine import direct
from flagstaff._tables.sqlstate import error_text
from flagstaff._workers.barrier import Barrier, Token, create_barrier
from flagstaff._workers.ended import Lost, without_ended
from flagstaff._workers.sessions import Worker, WorkerList
from flagstaff._workers.tracker import WorkerTracker
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError

# Seconds between two queries: most workers need a few milliseconds, some need a reconnect. Polls
# are seconds apart.
_FIRST_SLEEP, _MAX_SLEEP, _MAX_SLEEP_OF_POLLS = 0.005, 0.1, 0.5

# The engine's own, in seconds: the deadlines of a poll and of a load, and how often allowed users
# are loaded without tokens.
_POLL, _LOAD, _ALLOWED_USERS = 2.0, 15.0, 60.0
# The engine's polls are at most this factor late.
_POLL_JITTER = 1.1

# Seconds for which a session without a name may be that of a worker that has just connected.
_UNNAMED = 1.0

_PRIMARY_ONLY = ("read-write", "primary")


@dataclass(frozen=True)
class Propagation:
    """Which workers have applied a change."""

    #: Whether every known worker has applied it.
    complete: bool
    #: The number of workers that have applied it.
    applied: int = 0
    #: Connected workers that had not applied it before the timeout, or by `polling_deadline`.
    pending: tuple[Worker, ...] = ()
    #: Workers that only poll and have not applied it yet; they apply it by `polling_deadline` if
    #: they reach the database.
    polling: tuple[Worker, ...] = ()
    #: Workers that disconnected during this wait, or in the ten minutes before it, and have not
    #: reported their end.
    disconnected: tuple[Worker, ...] = ()
    #: The number of expected workers that were never connected.
    missing: int = 0
    #: Whether there may be workers that this server cannot list, behind a pooler or elsewhere.
    possibly_hidden: bool = False
    #: Whether there may be workers at another server, such as a standby, with any delay.
    possibly_elsewhere: bool = False
    #: Whether the wait went on until `polling_deadline`, and only workers that poll have not
    #: confirmed it. Then all workers that reach the database have applied it.
    polled: bool = False
    #: The duration of the wait.
    seconds: float = 0.0
    #: When the last of the `applied` workers had applied it, in seconds; None if none has.
    applied_after: float | None = None
    #: When polling workers apply it at the latest; None if evaluations query the database.
    polling_deadline: datetime | None = None

    @property
    def connected(self) -> int:
        """The number of workers that this server lists."""
        return self.applied + len(self.pending) + len(self.polling)

    @property
    def only_polling(self) -> bool:
        """Whether all workers that have not confirmed it poll, so that `polling_deadline` holds."""
        late = self.pending or self.disconnected or self.missing or self.possibly_elsewhere
        return bool(self.polling or self.possibly_hidden) and not late

    def as_dict(self) -> dict[str, object]:
        """Returns the propagation as a dict that JSON can hold."""
        deadline = self.polling_deadline
        return {
            **vars(self),
            "pending": _as_dicts(self.pending),
            "polling": _as_dicts(self.polling),
            "disconnected": _as_dicts(self.disconnected),
            "polling_deadline": deadline and deadline.isoformat(timespec="milliseconds"),
        }


def wait_for_workers(timeout: float = 5.0, *, expect: int | None = None) -> Propagation:
    """Waits until every connected worker has applied what was committed before the call.

    Call it after the commit: outside of transactions, or from `transaction.on_commit`. With
    `expect` it also waits until that many workers are connected. A worker that is cut off from the
    database is not connected; only `expect` reveals that it is missing. If only workers that poll
    have not confirmed it, it waits for their next polls if `timeout` is longer than their interval,
    and for workers that are not listed until `polling_deadline` if it is long enough for that.

    Blocks for at most `timeout` seconds, or longer if the database does not respond. Raises
    PropagationError in a transaction, without the right to wait, and if the database fails.
    """
    if not 0 <= timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
    return wait_for_polls(timeout, timeout, expect=expect)


def wait_for_polls(
    timeout: float,
    polling_timeout: float,
    *,
    expect: int | None = None,
    before_polls: Callable[[Propagation], object] = lambda _found: None,
) -> Propagation:
    """Waits as `wait_for_workers` does, with another timeout for workers that poll.

    Calls `before_polls` before it waits for these, which takes until `polling_deadline`.
    """
    connection = connections[conf.database]
    try:
        forbid_transaction()
        if _is_direct():
            return Propagation(complete=True)
        return _Wait(connection, expect).run(timeout, polling_timeout, before_polls)
    except Error as error:
        raise PropagationError(
            "the workers cannot be listed: {why}", why=error_text(error)
        ) from error


def forbid_transaction() -> None:
    """Raises PropagationError in a transaction, where nothing is committed yet."""
    connection = connections[conf.database]
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


class _Wait:
    """One wait, from the barrier to the result."""

    def __init__(self, connection: BaseDatabaseWrapper, expect: int | None) -> None:
        self._connection = connection
        self._expect = expect
        self._started = monotonic()
        self._barrier = create_barrier(connection)
        self._workers = WorkerList(connection)
        # After the commit, so the deadline of polling workers is never too early.
        self._created, self._created_at = monotonic(), datetime.now(timezone.utc)
        address = (connection.settings_dict[name] for name in ("HOST", "PORT", "NAME"))
        self._tracker = WorkerTracker((*address, self._barrier.token_table))
        self._unnamed, self._pooled = 0, False
        self._disconnected: tuple[Worker, ...] = ()
        self._applied = 0
        self._applied_after: float | None = None

    def run(
        self,
        timeout: float,
        polling_timeout: float,
        before_polls: Callable[[Propagation], object],
    ) -> Propagation:
        # Otherwise their polls are waited for afterwards.
        polls = conf.poll_interval * _POLL_JITTER <= timeout and polling_timeout < self._due()
        self._watch(timeout, lambda: self._is_over() and not (polls and self._will_confirm()))
        found = self._result()
        due = self._due()
        if found.only_polling and due <= polling_timeout:
            before_polls(found)
            self._watch(due, lambda: self._result().complete, _MAX_SLEEP_OF_POLLS)
            self._watch(due + _UNNAMED, lambda: self._is_over() and not self._will_confirm())
            found = self._result()
            found = replace(found, polled=found.only_polling and self._due() <= self._elapsed())
        self._tracker.remember()
        return found

    def _watch(
        self, timeout: float, is_over: Callable[[], bool], max_sleep: float = _MAX_SLEEP
    ) -> None:
        """Lists the workers until `is_over` returns True, or until this time of the wait."""
        sleep = _FIRST_SLEEP
        self._update()
        while not is_over() and (left := timeout - self._elapsed()) > 0:
            # Short sleeps, which gevent can see.
            time.sleep(min(sleep, left))
            sleep = min(sleep * 1.5, max_sleep)
            self._update()

    def _update(self) -> None:
        found = self._workers.read()
        workers = found.workers
        if not self._barrier.covers_all_tables:
            # Live workers may not have noticed yet that a table sends no tokens.
            workers = tuple(replace(worker, mode="reload") for worker in workers)
        # After the workers, so that every token that a worker shows is already in the table.
        known = self._barrier.known((worker.token, worker.nonce) for worker in workers)
        applied = [worker for worker in workers if _has_applied(worker, self._barrier, known)]
        self._tracker.update(workers, applied)
        self._disconnected = without_ended(
            [Lost(worker, self._elapsed()) for worker in self._tracker.disconnected()]
        )
        self._unnamed, self._pooled = found.unnamed, found.pooled
        before, self._applied = self._applied, self._tracker.applied()
        if self._applied > before:
            self._applied_after = self._elapsed()

    def _is_over(self) -> bool:
        """Returns True if only polls are left to wait for. Disconnected workers may reconnect."""
        # A new worker gets its name within milliseconds; a pooler's session never gets one.
        unnamed = self._unnamed and self._elapsed() < _UNNAMED
        tracker = self._tracker
        return not (tracker.pending() or self._disconnected or self._absent() or unnamed)

    def _will_confirm(self) -> bool:
        """Returns True if a worker that polls will show that it has applied it."""
        return any(worker.mode == "poll" for worker in self._tracker.polling())

    def _absent(self) -> int:
        """Returns how many of the expected workers are not connected."""
        tracker = self._tracker
        present = tracker.applied() + len(tracker.pending()) + len(tracker.polling())
        return max(0, (self._expect or 0) - present)

    def _result(self) -> Propagation:
        tracker = self._tracker
        applied, pending, polling = tracker.applied(), tracker.pending(), tracker.polling()
        if self._elapsed() >= self._due():
            pending += tuple(worker for worker in polling if worker.mode == "poll")
            polling = tuple(worker for worker in polling if worker.mode != "poll")
        disconnected = (*self._disconnected, *without_ended(tracker.disconnected_earlier()))
        missing = max(0, self._absent() - len(disconnected))
        elsewhere = self._may_be_elsewhere(applied)
        possibly_hidden = elsewhere or self._may_be_pooled()
        # No worker at all is complete only if none is expected.
        none = not applied and self._expect != 0
        return Propagation(
            complete=not (pending or polling or disconnected or missing or possibly_hidden or none),
            applied=applied,
            pending=pending,
            polling=polling,
            disconnected=disconnected,
            missing=missing,
            possibly_hidden=possibly_hidden,
            possibly_elsewhere=elsewhere,
            seconds=self._elapsed(),
            applied_after=self._applied_after if applied else None,
            polling_deadline=self._created_at + timedelta(seconds=self._max_delay()),
        )

    def _due(self) -> float:
        """Returns the second of the wait at which polling workers have applied it."""
        return self._created + self._max_delay() - self._started

    def _max_delay(self) -> float:
        """Returns the seconds that a polling worker takes if each step just meets its deadline."""
        reloads = any(worker.mode == "reload" for worker in self._tracker.polling())
        # Without all tokens, workers that are not listed reload as well.
        allowed_users = _ALLOWED_USERS * (reloads or not self._barrier.covers_all_tables)
        return allowed_users + conf.poll_interval * _POLL_JITTER + _POLL + _LOAD

    def _may_be_pooled(self) -> bool:
        """Returns True if workers may use a pooler in front of this server."""
        engine = connections[conf.engine_database]
        hosts = engine.settings_dict["HOST"] or ""
        is_same = "," in hosts or server_address(engine) == server_address(self._connection)
        return self._pooled or (is_same and self._barrier.pooled)

    def _may_be_elsewhere(self, applied: int) -> bool:
        """Returns True if workers may use another server."""
        engine = connections[conf.engine_database]
        settings = engine.settings_dict
        if "," in (settings["HOST"] or ""):
            return settings["OPTIONS"].get("target_session_attrs") not in _PRIMARY_ONLY
        # Another address may be the same server, with or without a pooler. If a worker has applied
        # the barrier, or there are workers behind a pooler here, it is.
        is_here = (
            server_address(engine) == server_address(self._connection) or applied or self._pooled
        )
        return not is_here

    def _elapsed(self) -> float:
        return monotonic() - self._started


def _has_applied(worker: Worker, barrier: Barrier, known: set[Token]) -> bool:
    """Returns True if the worker shows the barrier or a newer token that really exists."""
    token = (worker.token, worker.nonce)
    return worker.mode in {"live", "poll"} and barrier.is_reached_by(token) and token in known


def _is_direct() -> bool:
    """Returns True if evaluations query the database: on SQLite, and in tests without an engine."""
    return direct.is_required() and status_report()["mode"] in ("idle", "direct")


def _as_dicts(workers: Iterable[Worker]) -> list[dict[str, object]]:
    return [worker.as_dict() for worker in workers]
