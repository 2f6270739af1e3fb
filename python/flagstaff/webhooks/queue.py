"""What has yet to be told, in the database: taken from the history, claimed, and settled.

Each function is one short transaction. Nothing is locked between two of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connections, transaction

from flagstaff._tables.catalog import has_tables
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._tables.sqlstate import sqlstate
from flagstaff.conf import conf
from flagstaff.conf.receivers import Receiver
from flagstaff.exceptions import NoWebhooksError
from flagstaff.webhooks.retry import GIVE_UP_AFTER

__all__ = [
    "Counted",
    "Delivery",
    "claim",
    "count",
    "discard_failed",
    "mark_delivered",
    "mark_failure",
    "require_tables",
    "rest",
    "retry_failed",
    "take",
]

_TABLES = ("change_table", "receiver_table", "delivery_table")
# PostgreSQL's: a serialization failure, and a deadlock.
_LOST_RACES = {"40001", "40P01"}
_MOST_RACES = 20
# Longer than making a message and sending it can take, so that no other tick sends it meanwhile.
_MARGIN = 60.0


@dataclass(frozen=True)
class Delivery:
    """Something that a receiver is to be told, while nobody else is at it."""

    id: int
    is_value: bool
    #: Its entries in the history.
    entries: list[int]
    #: Which attempt this is, from 1.
    attempts: int
    #: What an attempt before has counted.
    impact: dict[str, int] | None
    #: How often in a row its receiver did not answer.
    failures: int


@dataclass(frozen=True)
class Counted:
    """What a receiver has yet to be told."""

    waiting: int = 0
    dead: int = 0
    error: str | None = None


def require_tables() -> None:
    """Raise NoWebhooksError where there is none."""
    connection = connections[conf.database]
    names = own_names(connection)
    if not has_tables(connection, *(names[table] for table in _TABLES)):
        raise NoWebhooksError(
            f'database "{conf.database}" has no outbox: it is kept on PostgreSQL, and '
            '"manage.py migrate" makes its tables'
        )


_T = TypeVar("_T")
_P = ParamSpec("_P")


def _again(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """Try again where another tick was faster. Only stricter transactions than usual fail so."""

    @wraps(work)
    def tried(*arguments: _P.args, **options: _P.kwargs) -> _T:
        for _ in range(_MOST_RACES):
            try:
                return work(*arguments, **options)
            except OperationalError as error:  # noqa: PERF203 (it is seldom)
                if sqlstate(error) not in _LOST_RACES:
                    raise
        return work(*arguments, **options)

    return tried


@_again
def take(receiver: Receiver) -> int:
    """Let what was committed since the last time wait for the receiver; how many events it is.

    A receiver that is new has nothing yet. Where another tick is at it, that one takes them.
    """
    with transaction.atomic(using=conf.database, durable=True):
        place = _row("lock_receiver_v1", receiver.name)
        if place is None:
            _run("register_receiver_v1", receiver.name)
            return 0
        newest, open_then, known = place
        named = receiver.name, receiver.name
        (count,) = _row("take_changes_v1", newest, newest, open_then, known, *named)
        return int(count)


@_again
def claim(receiver: Receiver) -> Delivery | None:
    """The next thing that the receiver is to be told, if any is due and may be sent."""
    for_so_long = receiver.timeout + _MARGIN
    for is_new in (True, False):
        if row := _row("claim_delivery_v1", receiver.name, is_new, for_so_long):
            return _claimed(row)
    return None


def _claimed(row: tuple[Any, ...]) -> Delivery:
    id_, is_value, entries, attempts, impact, failures = row
    # Django has psycopg leave JSON as text.
    known = json.loads(impact) if isinstance(impact, str) else impact
    return Delivery(id_, is_value, entries, attempts, known, failures)


@_again
def mark_delivered(delivery: Delivery) -> None:
    """It has arrived, or there is nothing left to tell."""
    _run("mark_delivered_v1", delivery.id)


@_again
def mark_failure(
    delivery: Delivery, error: str, again_in: float, impact: Mapping[str, int] | None, *, dead: bool
) -> None:
    """It has not arrived. It is tried again in so many seconds, or given up."""
    counted = None if impact is None else json.dumps(impact)
    settled = (dead, GIVE_UP_AFTER, delivery.id, delivery.attempts)
    _run("mark_failure_v1", again_in, error, counted, *settled)


@_again
def rest(receiver: Receiver, seconds: float) -> None:
    """Leave a receiver alone that does not answer."""
    _run("pause_receiver_v1", seconds, receiver.name)


def count() -> dict[str, Counted]:
    """What waits, by the names of the receivers."""
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_filled("count_deliveries_v1"))
        return {name: Counted(*rest) for name, *rest in cursor.fetchall()}


def retry_failed() -> int:
    """Let what was given up be sent again, before what came later to the same flag."""
    require_tables()
    return int((_row("retry_failed_v1") or [0])[0])


def discard_failed() -> int:
    """Do not tell any more what was given up."""
    require_tables()
    return int((_row("discard_failed_v1") or [0])[0])


def _row(file: str, *parameters: Any) -> Any:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_filled(file), parameters or None)
        return cursor.fetchone()


def _run(file: str, *parameters: Any) -> None:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_filled(file), parameters)


def _filled(file: str) -> str:
    return fill(sql(file), own_names(connections[conf.database]))
