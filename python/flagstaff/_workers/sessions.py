"""The workers that are connected to a server, read from the names of their sessions.

A worker sets its session's `application_name` to `fs2 TABLE TOKEN NONCE MODE PID rFORMAT HOST`
after each load. TABLE is the oid of its token table: two projects in one database have one each.
FORMAT is the newest format of rules that it can read; a worker that reads no rules has no rFORMAT.
Any client can set such a name, so callers compare token and nonce with the table.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.names import own_names, sql

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


@dataclass(frozen=True)
class Worker:
    """A process that evaluates from memory, as its session on the server shows it."""

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
    #: The backend's process id, as in pg_stat_activity.
    session: int
    #: The newest format of rules that it can read: 0 if it reads none, None if that is unknown.
    rule_format: int | None

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.host!r} (session {self.session})"
        return f"{self.host} (pid {self.pid})"

    def as_dict(self) -> dict[str, object]:
        """Returns the worker as a dict that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class ConnectedWorkers:
    """The workers of this project that are connected at one time."""

    workers: tuple[Worker, ...]
    #: The number of sessions without a worker's name: a pooler's, which any number of workers may
    #: share, or those of workers that have just connected.
    unnamed: int
    #: The number of workers of other projects, which have token tables of their own.
    of_other_projects: int


def list_workers(connection: BaseDatabaseWrapper) -> ConnectedWorkers:
    """Returns the workers of this connection's token table. Makes a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql("workers_v1"), [own_names(connection)["token_table"]])
        sessions: list[tuple[int, str, bool]] = cursor.fetchall()
    own = [(pid, name) for pid, name, is_others in sessions if not is_others]
    named = [(pid, name) for pid, name in own if name != _UNNAMED]
    workers = tuple(parse_name(name, session) for session, name in named)
    return ConnectedWorkers(workers, len(own) - len(named), len(sessions) - len(own))


def parse_name(name: str, session: int) -> Worker:
    """Returns the worker with this session name."""
    found = _NAME.fullmatch(name)
    if not found or int(found[1]) > _MAX_TOKEN:
        return Worker(name, None, "unreadable", 0, "", session, None)
    token, nonce, mode, pid, rule_format, host = found.groups()
    return Worker(host, int(pid), _MODES[mode], int(token), nonce, session, int(rule_format or 0))
