"""Waits until the workers that are connected have applied what is committed.

After the commit a barrier is drawn. A worker that shows this token or a later one has loaded a
moment after the commit: tokens are drawn in order, and a load is one consistent read. That a
worker shows a token later than that of the change would prove nothing: the change may have
committed after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff import _core
from flagstaff._engine import direct
from flagstaff._workers.barrier import Barrier, Token, draw
from flagstaff._workers.sessions import Worker, connected
from flagstaff._workers.tracker import WorkerTracker
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError

__all__ = ["Propagation", "forbid_transaction", "wait_for_workers"]

# Between two looks, in seconds: most workers need a few milliseconds, some need a reconnect.
_FIRST_NAP, _LONGEST_NAP = 0.005, 0.1

# The engine's, in seconds: the deadlines of a poll and of a load, and how often allow-lists are
# loaded where there are no tokens.
_POLL, _LOAD, _ALLOW_LISTS = 2.0, 15.0, 60.0
_LATEST_POLL = 1.1

# How long a session without a name may be that of a worker that has just connected, in seconds.
_UNNAMED = 1.0

_ONLY_THE_PRIMARY = ("read-write", "primary")


@dataclass(frozen=True)
class Propagation:
    """How far a change has come."""

    #: Whether every worker that there is to know of has applied it.
    confirmed: bool
    #: How many have shown that they have applied it.
    applied: int = 0
    #: Those who are connected, and had not applied it when the time was over.
    waiting: tuple[Worker, ...] = ()
    #: Those who only poll: they have it at `polling_by`, if they reach the database.
    polling: tuple[Worker, ...] = ()
    #: Those who were seen in this wait, or by this process in the last ten minutes, and are gone.
    vanished: tuple[Worker, ...] = ()
    #: How many of those expected are none of these.
    missing: int = 0
    #: Whether there may be workers that this server does not show: of a pooler, or of a standby.
    hidden: bool = False
    #: How long it took, in seconds.
    seconds: float = 0.0
    #: When those have it who only poll; None where each question asks the database.
    polling_by: datetime | None = None

    @property
    def connected(self) -> int:
        """How many workers could be counted."""
        return self.applied + len(self.waiting) + len(self.polling)

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        by = self.polling_by
        return {
            **vars(self),
            **{name: _as_dicts(getattr(self, name)) for name in ("waiting", "polling", "vanished")},
            "polling_by": by and by.isoformat(timespec="milliseconds"),
        }


def wait_for_workers(timeout: float = 5.0, *, expect: int | None = None) -> Propagation:
    """Wait until every connected worker has applied what was committed before the call.

    Call it after the commit: outside of transactions, or through `transaction.on_commit`. With
    `expect` it also waits for so many workers to be connected. A worker that is cut off from the
    database is not connected, and only `expect` can tell that it is missing.

    Blocks for at most `timeout` seconds, and longer only where the database does not answer. Raises
    PropagationError within a transaction, without the right to wait, and where the database fails.
    """
    if not 0 <= timeout < math.inf:
        raise ValueError(f"timeout is a number of seconds, not {timeout!r}")
    connection = connections[conf.database]
    try:
        forbid_transaction()
        if _asks_the_database(connection):
            return Propagation(confirmed=True)
        return _Wait(connection, expect).until_all_have_it(timeout)
    except Error as error:
        message = str(error).strip().partition("\n")[0]
        raise PropagationError(f"the workers cannot be asked: {message}") from error


def forbid_transaction() -> None:
    """Raise PropagationError where there is nothing committed yet to wait for."""
    connection = connections[conf.database]
    # A test case's own transaction is all the world there is, and counts as none.
    blocks: list[Any] = connection.atomic_blocks
    open_ones = [block for block in blocks if not block._from_testcase]  # noqa: SLF001
    # One that is not open commits as it was told to.
    by_itself = (
        connection.autocommit if connection.connection else connection.settings_dict["AUTOCOMMIT"]
    )
    if open_ones or not (blocks or by_itself):
        raise PropagationError(
            "a transaction is open, and workers see a change when it is committed; "
            "call wait_for_workers() after it, or let transaction.on_commit() call it"
        )


class _Wait:
    """One wait, from the barrier to the last look."""

    def __init__(self, connection: BaseDatabaseWrapper, expect: int | None) -> None:
        self._connection = connection
        self._expect = expect
        self._begun = time.monotonic()
        self._barrier = draw(connection)
        # Later than the commit, and so never too early.
        self._drawn = datetime.now(timezone.utc)
        address = (connection.settings_dict[name] for name in ("HOST", "PORT", "NAME"))
        self._census = WorkerTracker((*address,))
        self._anonymous = 0

    def until_all_have_it(self, timeout: float) -> Propagation:
        nap = _FIRST_NAP
        self._look()
        while not self._is_over() and (left := timeout - self._elapsed()) > 0:
            # In short sleeps, which gevent can see.
            time.sleep(min(nap, left))
            nap = min(nap * 1.5, _LONGEST_NAP)
            self._look()
        self._census.remember()
        return self._outcome()

    def _look(self) -> None:
        found = connected(self._connection)
        workers = found.workers
        if not self._barrier.complete:
            # Those that are live have not noticed yet that they hear of nothing.
            workers = tuple(replace(worker, mode="reload") for worker in workers)
        # Second, so that a token that a worker shows is there to be found.
        known = self._barrier.known((worker.token, worker.nonce) for worker in workers)
        applied = [worker for worker in workers if _has_applied(worker, self._barrier, known)]
        self._census.look(workers, applied)
        self._anonymous = found.anonymous

    def _is_over(self) -> bool:
        """Whether nothing can come of waiting longer. Who has gone may be about to reconnect."""
        # Who has just connected has a name within milliseconds. A pooler's session gets none.
        unnamed = self._anonymous and self._elapsed() < _UNNAMED
        return not (self._census.waiting() or self._census.lost() or self._absent() or unnamed)

    def _absent(self) -> int:
        """How many of those expected are not connected."""
        census = self._census
        present = census.applied() + len(census.waiting()) + len(census.polling())
        return max(0, (self._expect or 0) - present)

    def _outcome(self) -> Propagation:
        census = self._census
        applied, waiting, polling = census.applied(), census.waiting(), census.polling()
        vanished = (*census.lost(), *census.missed())
        missing = max(0, self._absent() - len(vanished))
        hidden = self._anonymous > 0 or self._may_be_elsewhere(applied)
        # Where nobody is, nobody has confirmed it, unless that is what was expected.
        nobody = not applied and self._expect != 0
        return Propagation(
            confirmed=not (waiting or polling or vanished or missing or hidden or nobody),
            applied=applied,
            waiting=waiting,
            polling=polling,
            vanished=vanished,
            missing=missing,
            hidden=hidden,
            seconds=self._elapsed(),
            polling_by=self._drawn + timedelta(seconds=_bound(polling)),
        )

    def _may_be_elsewhere(self, applied: int) -> bool:
        """Whether workers may be connected to another server, or through a pooler."""
        engine = connections[conf.engine_database]
        settings = engine.settings_dict
        if "," in (settings["HOST"] or ""):
            role = settings["OPTIONS"].get("target_session_attrs")
            return role not in _ONLY_THE_PRIMARY or self._barrier.pooled
        if _address(engine) == _address(self._connection):
            return self._barrier.pooled
        # Another way to the same server, such as past a pooler, is told by who has come that way.
        return not applied

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun


def _has_applied(worker: Worker, barrier: Barrier, known: set[Token]) -> bool:
    """Whether it shows a token that is one, and was drawn after the barrier."""
    token = (worker.token, worker.nonce)
    return worker.mode == "live" and barrier.is_passed_by(token) and token in known


def _bound(polling: Iterable[Worker]) -> float:
    """How long a worker takes at most that polls, and whose every wait ends just in time."""
    allow_lists = any(worker.mode == "reload" for worker in polling) * _ALLOW_LISTS
    return allow_lists + conf.poll_interval * _LATEST_POLL + _POLL + _LOAD


def _asks_the_database(connection: BaseDatabaseWrapper) -> bool:
    """Whether each question is a query: on other databases, and in tests without an engine."""
    if connection.vendor != "postgresql":
        return True
    return direct.is_called_for() and _core.report()["mode"] in ("idle", "direct")


def _address(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    settings = connection.settings_dict
    return (settings["HOST"], settings["PORT"], settings["OPTIONS"].get("service"))


def _as_dicts(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    return [worker.as_dict() for worker in workers]
