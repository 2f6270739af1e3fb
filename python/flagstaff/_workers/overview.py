"""The connected workers with their state: which are behind, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._core import RULE_FORMAT
from flagstaff._engine.usage import require_usage
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._workers.ended import is_same
from flagstaff._workers.sessions import Worker, list_workers
from flagstaff.exceptions import NoUsageError


@dataclass(frozen=True)
class WorkerState:
    """A worker, and how it compares with the newest change."""

    worker: Worker
    #: None if it is not known: the worker reloads, its name is not readable, or no change is known.
    is_behind: bool | None
    #: Seconds since the oldest change that it has not applied; None if it is not behind.
    behind_seconds: float | None
    #: Seconds since its last query or heartbeat, which a worker makes for each load and poll. None
    #: if the role may not see sessions of another role.
    idle_seconds: float | None
    #: When it connected; None as above, and behind a pooler.
    connected_at: datetime | None

    @property
    def is_older(self) -> bool:
        """Whether it runs an older version, which cannot read all rules."""
        rule_format = self.worker.rule_format
        return rule_format is not None and rule_format < RULE_FORMAT


@dataclass(frozen=True)
class WorkerOverview:
    """The workers of this project: those that are behind first, the longest of them first.

    The numbers `unnamed` and `of_other_projects` are those of `ConnectedWorkers`.
    """

    workers: tuple[WorkerState, ...]
    unnamed: int
    of_other_projects: int
    #: The number of workers that report counts and are not listed, as without a connection.
    unlisted: int = 0

    @property
    def behind(self) -> tuple[WorkerState, ...]:
        """The workers that are behind."""
        return tuple(worker for worker in self.workers if worker.is_behind)

    @property
    def is_behind(self) -> bool | None:
        """Whether one of them is behind; None without workers, or if it is not known."""
        if self.behind:
            return True
        return None if self.unknown or not self.workers else False

    @property
    def unknown(self) -> tuple[WorkerState, ...]:
        """The workers whose state is not known."""
        return tuple(worker for worker in self.workers if worker.is_behind is None)

    @property
    def older(self) -> tuple[WorkerState, ...]:
        """The workers of an older version."""
        return tuple(worker for worker in self.workers if worker.is_older)


class _Times(NamedTuple):
    connected_at: datetime | None
    idle: float | None
    behind_seconds: float | None
    has_tokens: bool


def worker_overview(
    connection: BaseDatabaseWrapper, *, with_unlisted: bool = True
) -> WorkerOverview:
    """Returns the workers that this server can list. Makes up to four queries.

    Counts those that it cannot list with two of them, unless the caller does not need their number.

    Needs PostgreSQL. The database raises an error before the migration, and without the right to
    read the tokens.
    """
    connected = list_workers(connection)
    # Read after the workers, so that an up-to-date worker may look behind, but not vice versa.
    states = list(map(_state, connected.workers, _times(connection, connected.workers)))
    states.sort(key=lambda state: (-(state.behind_seconds or -1.0), state.worker.host))
    unlisted = count_unlisted(connected.workers) if with_unlisted else 0
    return WorkerOverview(tuple(states), connected.unnamed, connected.of_other_projects, unlisted)


def _times(connection: BaseDatabaseWrapper, workers: tuple[Worker, ...]) -> list[_Times]:
    sessions, tokens = [worker.session for worker in workers], [worker.token for worker in workers]
    with connection.cursor() as cursor:
        query = fill(sql("worker_times_v1"), own_names(connection))
        cursor.execute(query, [sessions, tokens])
        return [_Times(*times) for times in cursor.fetchall()]


def _state(worker: Worker, times: _Times) -> WorkerState:
    is_known = times.has_tokens and worker.pid is not None and worker.mode != "reload"
    behind_seconds = times.behind_seconds if is_known else None
    is_behind = behind_seconds is not None if is_known else None
    idle = worker.heartbeat.age if worker.heartbeat else times.idle
    return WorkerState(worker, is_behind, behind_seconds, idle, times.connected_at)


def count_unlisted(listed: Iterable[Worker]) -> int:
    """Returns how many other workers have reported their counts lately, and no end.

    A worker reports with USAGE_INTERVAL, from its first evaluations on. Makes two queries. Returns
    0 if the counts are disabled or cannot be read.
    """
    try:
        connection = require_usage()
        with connection.cursor() as cursor:
            cursor.execute(fill(sql("reporting_workers_v1"), own_names(connection)))
            reports: list[tuple[str, int]] = cursor.fetchall()
    except (Error, NoUsageError):
        return 0
    for worker in listed:
        # One report is that of one worker: containers can show the same process id and host.
        own_report = next((report for report in reports if is_same(worker, *report)), None)
        if own_report is not None:
            reports.remove(own_report)
    return len(reports)
