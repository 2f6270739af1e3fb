"""The queue of deliveries: enqueue, claim, and record the outcome.

Each function is one short transaction. No lock is held between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connections, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Now

from flagstaff.conf import conf
from flagstaff.contrib.webhooks.models import Delivery, Position
from flagstaff.contrib.webhooks.receivers import Receiver
from flagstaff.contrib.webhooks.retry import MAX_AGE
from flagstaff.history import Kind

# PostgreSQL's codes for a serialization failure and a deadlock.
_CONFLICT_CODES = {"40001", "40P01"}
_MAX_RETRIES = 20
# Beyond the timeout. No message takes that long, so no other run sends it meanwhile.
_CLAIM_MARGIN = 60.0

_T = TypeVar("_T")
_P = ParamSpec("_P")


def positions() -> QuerySet[Position]:
    """Returns the positions of the receivers, in the database of the history."""
    return Position.objects.using(conf.database)


def deliveries() -> QuerySet[Delivery]:
    """Returns the deliveries of all receivers, in the database of the history."""
    return Delivery.objects.using(conf.database)


def _retry_on_conflict(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """Repeats a transaction that lost to another run. Needs an isolation above READ COMMITTED."""

    @wraps(work)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(_MAX_RETRIES):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:  # noqa: PERF203 (conflicts are rare)
                cause: Any = error.__cause__
                # psycopg 3 and psycopg2.
                code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
                if code not in _CONFLICT_CODES:
                    raise
        return work(*args, **kwargs)

    return wrapper


@_retry_on_conflict
def enqueue(receiver: Receiver) -> None:
    """Queues the events committed since the last run for a receiver.

    A new receiver starts with none. If another run is enqueuing for it, that run queues them.
    """
    name = receiver.name
    with transaction.atomic(using=conf.database, durable=True):
        locked = positions().select_for_update(skip_locked=True)
        position = locked.filter(receiver=name).first()
        if position is None:
            _execute("create_position", name)
            return
        quote = connections[conf.database].ops.quote_name
        tables = [quote(kind.model._meta.db_table) for kind in Kind]
        last, still_open = position.last_entry_id, position.open_transactions
        _execute("enqueue", tables, last, last, still_open, position.excluded_entry_ids, name, name)


@_retry_on_conflict
def claim(receiver: Receiver) -> Delivery | None:
    """Claims the next delivery that is due: the oldest of its flag, value or segment.

    The least often attempted ones are first: a message that crashes the receiver each time does not
    block the others. Returns None if there is none.
    """
    earlier = deliveries().filter(
        receiver=OuterRef("receiver"),
        relation=OuterRef("relation"),
        id__lt=OuterRef("id"),
        failed_at=None,
    )
    paused = positions().filter(receiver=OuterRef("receiver"), paused_until__gt=Now())
    due = deliveries().filter(
        Q(claim_expires_at=None) | Q(claim_expires_at__lte=Now()),
        # By row and by key: another row may reuse a key, and a row's key may change.
        ~Exists(earlier.filter(object_pk=OuterRef("object_pk"))),
        ~Exists(earlier.filter(key=OuterRef("key"))),
        ~Exists(paused),
        receiver=receiver.name,
        failed_at=None,
        due_at__lte=Now(),
    )
    with transaction.atomic(using=conf.database):
        locked = due.select_for_update(skip_locked=True).order_by("attempts", "id")
        delivery = locked.first()
        if delivery is not None:
            delivery.attempts += 1
            expires_at = Now() + timedelta(seconds=receiver.timeout + _CLAIM_MARGIN)
            own = deliveries().filter(id=delivery.id)
            own.update(attempts=delivery.attempts, claim_expires_at=expires_at)
    return delivery


@_retry_on_conflict
def mark_delivered(delivery: Delivery) -> None:
    """Removes a delivery that arrived or expired, and ends the failures of its receiver."""
    deliveries().filter(id=delivery.id).delete()
    failing = positions().filter(receiver=delivery.receiver, consecutive_failures__gt=0)
    failing.update(consecutive_failures=0, paused_until=None)


@_retry_on_conflict
def mark_failure(delivery: Delivery, error: str, retry_in: float, *, give_up: bool) -> None:
    """Records a failed attempt, to be repeated in `retry_in` seconds, or given up.

    Does nothing if a newer attempt has begun.
    """
    is_old = When(queued_at__lte=Now() - timedelta(seconds=MAX_AGE), then=Now())
    deliveries().filter(id=delivery.id, attempts=delivery.attempts).update(
        claim_expires_at=None,
        due_at=Now() + timedelta(seconds=retry_in),
        last_error=error,
        failed_at=Now() if give_up else Case(is_old),
    )


@_retry_on_conflict
def pause(receiver: Receiver, seconds: float) -> None:
    """Sends nothing to a receiver for this time, because it is unreachable."""
    positions().filter(receiver=receiver.name).update(
        consecutive_failures=F("consecutive_failures") + 1,
        paused_until=Now() + timedelta(seconds=seconds),
    )


def count_deliveries() -> dict[str, dict[str, Any]]:
    """Returns `receiver`, `pending`, `failed` and the newest `last_error`, by the receiver."""
    errors = deliveries().filter(receiver=OuterRef("receiver")).exclude(last_error=None)
    counts = (
        deliveries()
        .values("receiver")
        .annotate(
            pending=Count("id", filter=Q(failed_at=None)),
            failed=Count("failed_at"),
            last_error=Subquery(errors.order_by("-id").values("last_error")[:1]),
        )
    )
    return {one["receiver"]: dict(one) for one in counts}


@_retry_on_conflict
def delete_removed(receivers: Collection[str]) -> dict[str, int]:
    """Deletes the deliveries of other receivers that no run has served for three days.

    A run with other settings may serve them. Returns their number by receiver.
    """
    with transaction.atomic(using=conf.database):
        unserved = positions().filter(read_at__lte=Now() - timedelta(seconds=MAX_AGE))
        unserved.exclude(receiver__in=receivers).delete()
        known = positions().filter(receiver=OuterRef("receiver"))
        orphans = deliveries().filter(~Exists(known)).exclude(receiver__in=receivers)
        counts = dict(orphans.values_list("receiver").annotate(Count("id")).order_by("receiver"))
        orphans.filter(receiver__in=counts).delete()
    return counts


def retry_failed() -> int:
    """Queues the failed deliveries again, before newer ones of the same flag. Returns how many."""
    with transaction.atomic(using=conf.database):
        failed = deliveries().exclude(failed_at=None)
        receivers = failed.values("receiver")
        positions().filter(receiver__in=receivers).update(paused_until=None)
        return failed.update(failed_at=None, attempts=0, due_at=Now(), queued_at=Now())


def discard_failed() -> int:
    """Deletes the failed deliveries. Returns how many."""
    deleted, _by_model = deliveries().exclude(failed_at=None).delete()
    return deleted


def _execute(name: str, *parameters: Any) -> None:
    statement = Path(__file__).with_name("sql") / f"{name}.sql"
    with connections[conf.database].cursor() as cursor:
        cursor.execute(statement.read_text(encoding="utf-8"), parameters)
