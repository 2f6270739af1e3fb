"""The workers that are connected to a server, by what each of them calls its session.

The name of a worker's own connection is `fs1 TOKEN NONCE MODE PID HOST`, and is set anew after each
load. It is a claim that anybody can make: who relies on it compares token and nonce with the table.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.names import sql

__all__ = ["Connected", "Worker", "connected", "parse"]

_NAME = re.compile(r"fs1 ([0-9]{1,19}) ([0-9a-f]{8}) ([SLPR]) ([0-9]{1,10}) (.*)")
# No token is greater, and the database refuses to look for one that is.
_GREATEST = 2**63 - 1
_MODES = {"S": "starting", "L": "live", "P": "poll", "R": "reload"}
# What a link is called behind a pooler, and for a moment before it is known not to be.
_ANONYMOUS = "flagstaff"


@dataclass(frozen=True)
class Worker:
    """A process that answers from memory, as its session on the server tells of it."""

    #: The end of the machine's name, if the whole is too long.
    host: str
    #: The process on that machine; None where the session's name cannot be read.
    pid: int | None
    #: starting (connected, not loaded yet), live, poll, reload, or unreadable.
    mode: str
    #: The newest token that it has applied; 0 if none.
    token: int
    #: The end of that token's random number.
    nonce: str
    #: The server's process that serves it, as in pg_stat_activity.
    session: int

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.host!r} (session {self.session})"
        return f"{self.host} (pid {self.pid})"

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class Connected:
    """Who is connected at one moment."""

    workers: tuple[Worker, ...]
    #: Sessions without a name of their own: a pooler's, which any number of workers may share, or
    #: those of workers that have just connected.
    anonymous: int


def connected(connection: BaseDatabaseWrapper) -> Connected:
    """The workers that are connected to this database on this server."""
    with connection.cursor() as cursor:
        cursor.execute(sql("workers_v1"))
        sessions: list[tuple[int, str]] = cursor.fetchall()
    named = [(pid, name) for pid, name in sessions if name != _ANONYMOUS]
    return Connected(
        tuple(parse(name, session) for session, name in named), len(sessions) - len(named)
    )


def parse(name: str, session: int) -> Worker:
    """A worker by the name of its session."""
    found = _NAME.fullmatch(name)
    if not found or int(found[1]) > _GREATEST:
        return Worker(name, None, "unreadable", 0, "", session)
    token, nonce, mode, pid, host = found.groups()
    return Worker(host, int(pid), _MODES[mode], int(token), nonce, session)
