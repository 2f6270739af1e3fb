"""The workers that are connected to a server, read from the names of their sessions.

Behind a pooler, other clients share the session. There a worker writes the name into
flagstaff_report after each poll, as a heartbeat, if it has the right.

A worker sets its session's `application_name` to `fs2 TABLE TOKEN NONCE MODE PID rFORMAT HOST`
after each load. TABLE is the oid of its token table: two projects in one database have one each.
FORMAT is the newest format of rules that it can read; a worker that reads no rules has no rFORMAT.
Any client can set such a name, so callers compare token and nonce with the table.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import find_table
from flagstaff._tables.names import fill, own_names, sql

# Workers of the format fs1 name no table.
_NAME = re.compile(
    r"(?:fs1|fs2 [0-9]{1,10}) ([0-9]{1,19}) ([0-9a-f]{8}) ([SLPR]) ([0-9]{1,10}) "
    r"(?:r([0-9]{1,3}) )?(.*)"
)
# The largest bigint: the database rejects a query for a larger one.
_MAX_TOKEN = 2**63 - 1
_MODES = {"S": "starting", "L": "live", "P": "poll", "R": "reload"}
# The name of a connection behind a pooler, and of one that has just been opened.
_UNNAMED = "flagstaff"


class Heartbeat(NamedTuple):
    """The row of a worker behind a pooler."""

    #: Its key in the table.
    worker: str
    #: Seconds since it was written.
    age: float


@dataclass(frozen=True)
class Worker:
    """A process that evaluates from memory, as its session or its heartbeat shows it."""

    #: The machine's name, or its end if it is too long.
    host: str
    #: The process id on that machine; None if the session's name is not readable.
    pid: int | None
    #: starting (connected, not loaded yet), live, poll, reload, or unreadable.
    mode: str
    #: The id of the newest token that it has applied; 0 if none.
    token: int
    #: The nonce of that token.
    nonce: str
    #: The backend's process id, as in pg_stat_activity; None behind a pooler.
    session: int | None
    #: The newest format of rules that it can read: 0 if it reads none, None if that is unknown.
    rule_format: int | None
    #: None if its session shows it.
    heartbeat: Heartbeat | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.host!r} (session {self.id})"
        return f"{self.host} (pid {self.pid})"

    @property
    def id(self) -> str:
        """Differs between all connected workers, also those with the same host and process id."""
        return self.heartbeat.worker if self.heartbeat else str(self.session)

    def as_dict(self) -> dict[str, object]:
        """Returns the worker as a dict that JSON can hold."""
        return {name: value for name, value in asdict(self).items() if name != "heartbeat"}


@dataclass(frozen=True)
class ConnectedWorkers:
    """The workers of this project that are connected at one time."""

    workers: tuple[Worker, ...]
    #: The number of sessions without a worker's name: a pooler's, which any number of workers may
    #: share, or those of workers that have just connected.
    unnamed: int
    #: The number of workers of other projects, which have token tables of their own.
    of_other_projects: int

    @property
    def pooled(self) -> bool:
        """Whether there may be workers behind a pooler."""
        return self.unnamed > 0 or any(worker.heartbeat for worker in self.workers)


class WorkerList:
    """Lists the workers of a connection's token table. Makes a query."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._names = own_names(connection)
        table = find_table(connection, self._names["report_table"])
        self._has_heartbeats = bool(table and table.may_read and not table.hides_rows)

    def read(self) -> ConnectedWorkers:
        """Returns the workers. Makes a query, and another one if heartbeats can be read."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql("workers_v1"), [self._names["token_table"]])
            sessions: list[tuple[int, str, bool]] = cursor.fetchall()
        own = [(pid, name) for pid, name, is_others in sessions if not is_others]
        workers = [parse_name(name, session) for session, name in own if name != _UNNAMED]
        unnamed = len(own) - len(workers)
        # A worker that has just left a pooler has both.
        listed = Counter((worker.host, worker.pid) for worker in workers)
        for worker in self._behind_a_pooler():
            identity = (worker.host, worker.pid)
            if listed[identity] == 0:
                workers.append(worker)
            else:
                listed[identity] -= 1
        return ConnectedWorkers(tuple(workers), unnamed, len(sessions) - len(own))

    def _behind_a_pooler(self) -> list[Worker]:
        if not self._has_heartbeats:
            return []
        with self._connection.cursor() as cursor:
            cursor.execute(fill(sql("heartbeats_v1"), self._names))
            heartbeats: list[tuple[str, str, float]] = cursor.fetchall()
        return [parse_name(name, None, Heartbeat(key, age)) for key, name, age in heartbeats]


def list_workers(connection: BaseDatabaseWrapper) -> ConnectedWorkers:
    """Returns the workers of this connection's token table. Makes up to three queries."""
    return WorkerList(connection).read()


def parse_name(name: str, session: int | None, heartbeat: Heartbeat | None = None) -> Worker:
    """Returns the worker with this session name."""
    found = _NAME.fullmatch(name)
    if not found or int(found[1]) > _MAX_TOKEN:
        return Worker(name, None, "unreadable", 0, "", session, None, heartbeat)
    token, nonce, mode, pid, digits, host = found.groups()
    rule_format = int(digits or 0)
    return Worker(host, int(pid), _MODES[mode], int(token), nonce, session, rule_format, heartbeat)


def is_pooled(connection: BaseDatabaseWrapper, session: int) -> bool:
    """Returns True if the backend is not the one that was reported at log-in."""
    return bool(connection.connection.info.backend_pid != session)
