"""The queue of deliveries in the database: enqueue, claim, and record the outcome.

Each function is one short transaction. No lock is held between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

from django.db import OperationalError, connections, transaction

from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import fill, names, own_names, sql
from flagstaff._tables.sqlstate import sqlstate
from flagstaff.conf import conf
from flagstaff.contrib.webhooks.receivers import Receiver
from flagstaff.contrib.webhooks.retry import MAX_AGE
from flagstaff.exceptions import NoWebhooksError

_TABLES = ("change_table", "receiver_table", "delivery_table")
# PostgreSQL's codes for a serialization failure and a deadlock.
_CONFLICT_CODES = {"40001", "40P01"}
_MAX_RETRIES = 20
# Seconds beyond the timeout. No message takes that long, so no other run sends it meanwhile.
_CLAIM_MARGIN = 60.0


@dataclass(frozen=True)
class Delivery:
    """A delivery that this run has claimed."""

    id: int
    #: Of the row, as in the history.
    relation: str
    #: The ids of its entries in the history.
    entry_ids: list[int]
    #: The number of this attempt, from 1.
    attempts: int
    #: How many attempts in a row could not reach the receiver.
    consecutive_failures: int


@dataclass(frozen=True)
class QueueCounts:
    """How many deliveries a receiver has in the queue."""

    pending: int = 0
    failed: int = 0
    last_error: str | None = None


def require_tables() -> None:
    """Raises NoWebhooksError if the database lacks the tables, or can hide rows of them."""
    connection = connections[conf.database]
    own = own_names(connection)
    if reason := why_unavailable(connection, *(own[table] for table in _TABLES)):
        raise NoWebhooksError(
            'webhooks are not available in database "{database}"; {reason}',
            database=conf.database,
            reason=reason,
        )


_Parameter: TypeAlias = str | float | None
_Row: TypeAlias = tuple[Any, ...]
_T = TypeVar("_T")
_P = ParamSpec("_P")


def _retry_on_conflict(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """Repeats a transaction that lost to another run. Needs an isolation above READ COMMITTED."""

    @wraps(work)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(_MAX_RETRIES):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:  # noqa: PERF203 (conflicts are rare)
                if sqlstate(error) not in _CONFLICT_CODES:
                    raise
        return work(*args, **kwargs)

    return wrapper


@_retry_on_conflict
def enqueue(receiver: Receiver) -> int:
    """Queues the events committed since the last run for a receiver. Returns how many.

    A new receiver starts with none. If another run is enqueuing for it, that run queues them.
    """
    with transaction.atomic(using=conf.database, durable=True):
        position = _fetch_row("lock_receiver_v1", receiver.name)
        if position is None:
            _execute("create_receiver_v1", receiver.name)
            return 0
        last_entry_id, open_transactions, excluded_ids = position
        parameters = (last_entry_id, last_entry_id, open_transactions, excluded_ids)
        row = _fetch_row(
            "enqueue_changes_v1", *_watched(), *parameters, receiver.name, receiver.name
        )
        return _count(row)


@_retry_on_conflict
def claim(receiver: Receiver) -> Delivery | None:
    """Claims the next delivery that is due. Returns None if there is none."""
    seconds = receiver.timeout + _CLAIM_MARGIN
    for is_new in (True, False):
        if row := _fetch_row("claim_delivery_v1", receiver.name, is_new, seconds):
            return Delivery(*row)
    return None


@_retry_on_conflict
def mark_delivered(delivery: Delivery) -> None:
    """Removes a delivery that arrived or expired."""
    _execute("mark_delivered_v1", delivery.id)


@_retry_on_conflict
def mark_failure(delivery: Delivery, error: str, retry_in: float, *, give_up: bool) -> None:
    """Records a failed attempt, to be repeated in `retry_in` seconds, or given up."""
    attempt = (delivery.id, delivery.attempts)
    _execute("mark_failure_v1", retry_in, error, give_up, MAX_AGE, *attempt)


@_retry_on_conflict
def pause(receiver: Receiver, seconds: float) -> None:
    """Sends nothing to a receiver for this time, because it is unreachable."""
    _execute("pause_receiver_v1", seconds, receiver.name)


def count_deliveries() -> dict[str, QueueCounts]:
    """Returns the counts of each receiver by its name."""
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_filled("count_deliveries_v1"))
        return {name: QueueCounts(*counts) for name, *counts in cursor.fetchall()}


@_retry_on_conflict
def delete_removed(receivers: Sequence[str]) -> dict[str, int]:
    """Deletes the deliveries of other receivers that no run has served for three days.

    Returns their number by receiver.
    """
    with connections[conf.database].cursor() as cursor:
        names = list(receivers)
        cursor.execute(_filled("delete_removed_receivers_v1"), [names, MAX_AGE, names])
        return dict(cursor.fetchall())


def retry_failed() -> int:
    """Queues the failed deliveries again, before newer ones of the same flag. Returns how many."""
    require_tables()
    return _count(_fetch_row("retry_failed_v1"))


def discard_failed() -> int:
    """Deletes the failed deliveries. Returns how many."""
    require_tables()
    return _count(_fetch_row("discard_failed_v1"))


def _watched() -> tuple[str, ...]:
    quoted = names(connections[conf.database])
    return tuple(quoted[table] for table in ("flag_table", "value_table", "segment_table"))


def _count(row: _Row | None) -> int:
    return int(row[0]) if row else 0


def _fetch_row(file: str, *parameters: _Parameter) -> _Row | None:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_filled(file), parameters or None)
        row: _Row | None = cursor.fetchone()
        return row


def _execute(file: str, *parameters: _Parameter) -> None:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_filled(file), parameters)


def _filled(file: str) -> str:
    return fill(sql(file), own_names(connections[conf.database]))
