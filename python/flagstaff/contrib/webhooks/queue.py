"""The queue of deliveries: enqueue, claim, and record the outcome.

Each function is one short transaction. No lock is held between two of them.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import Any

from django.db import connections, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.contrib.webhooks.models import Delivery, Position
from flagstaff.contrib.webhooks.receivers import WEBHOOKS, Receiver
from flagstaff.history.log import AUTHOR, Change, event_key
from flagstaff.models import WaitingAction

# A delivery that has failed for this time is given up.
_MAX_AGE = timedelta(days=3)
# Beyond the timeout. No message takes that long, so no other run sends it meanwhile.
_CLAIM_MARGIN = 60.0
# One statement, so that both belong to one snapshot. The snapshot does not list open transactions
# above the highest that has ended. None of those has an entry below a visible one: the trigger's
# EXCEPTION block makes a subtransaction per entry, whose number is assigned after the entry's id,
# and which has ended too.
_READ_SNAPSHOT = """
    SELECT coalesce((SELECT pg_catalog.max(id) FROM flagstaff_change), 0), ARRAY(
        SELECT xid::text::bigint
        FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS xid
    )
"""


def _positions() -> QuerySet[Position]:
    return Position.objects.using(conf.database)


def _deliveries() -> QuerySet[Delivery]:
    return Delivery.objects.using(conf.database)


def enqueue(receiver: Receiver) -> None:
    """Queues the events committed since the last run for a receiver.

    A new receiver starts with none. If another run is enqueuing for it, that run queues them.
    """
    name = receiver.name
    with transaction.atomic(using=conf.database, durable=True):
        position = _positions().select_for_update(skip_locked=True).filter(receiver=name).first()
        with connections[conf.database].cursor() as cursor:
            cursor.execute(_READ_SNAPSHOT)
            [last, still_open] = cursor.fetchone()
        now = {"last_entry_id": last, "open_transactions": still_open}
        if position is None:
            _positions().bulk_create([Position(receiver=name, **now)], ignore_conflicts=True)
            return
        late = Q(transaction_id__in=position.open_transactions)
        fresh = Change.objects.filter(Q(id__gt=position.last_entry_id) | late, id__lte=last)
        queued = [
            Delivery(
                receiver=name,
                kind=entries[0].kind.value,
                object_pk=entries[0].object_pk,
                key=entries[-1].key,
                entry_ids=[entry.pk for entry in entries],
            )
            # Those committed after the snapshot are for the next run.
            for entries in by_event(fresh.exclude(transaction_id__in=still_open))
        ]
        queued.sort(key=lambda delivery: delivery.entry_ids[-1])
        _deliveries().bulk_create(queued, batch_size=1_000)
        _positions().filter(receiver=name).update(**now)


def enqueue_waiting(waiting: WaitingAction, event: str) -> None:
    """Queues what happened to an action for each receiver. Belongs to the present transaction."""
    _deliveries().bulk_create(
        Delivery(
            receiver=receiver.name,
            kind=WaitingAction.SOURCE,
            object_pk=waiting.key,
            key=waiting.key,
            entry_ids=[],
            event=event,
        )
        for receiver in WEBHOOKS.current()
    )


def by_event(fresh: QuerySet[Change]) -> list[list[Change]]:
    """Returns the entries by event: what a transaction did to a row by one actor, oldest first."""
    columns = ("transaction_id", "relation", "object_pk", "key", *AUTHOR)
    # The entries of transactions that wrote at the same time are mixed.
    entries = sorted(
        fresh.only(*columns).order_by("id"),
        key=lambda entry: (entry.transaction_id, entry.kind.value, entry.object_pk),
    )
    return [list(event) for _key, event in groupby(entries, event_key)]


def claim(receiver: Receiver) -> Delivery | None:
    """Claims the next delivery that is due: the oldest of its flag, value or segment.

    The least often attempted ones are first: a message that crashes the receiver each time does not
    block the others. Returns None if there is none.
    """
    earlier = _deliveries().filter(
        receiver=receiver.name, kind=OuterRef("kind"), id__lt=OuterRef("id"), failed_at=None
    )
    due = _deliveries().filter(
        Q(claim_expires_at=None) | Q(claim_expires_at__lte=Now()),
        # By row and by key: another row may reuse a key, and a row's key may change.
        ~Exists(earlier.filter(object_pk=OuterRef("object_pk"))),
        ~Exists(earlier.filter(key=OuterRef("key"))),
        ~Exists(_positions().filter(receiver=receiver.name, paused_until__gt=Now())),
        receiver=receiver.name,
        failed_at=None,
        due_at__lte=Now(),
    )
    with transaction.atomic(using=conf.database):
        delivery = due.select_for_update(skip_locked=True).order_by("attempts", "id").first()
        if delivery is not None:
            delivery.attempts += 1
            delivery.claim_expires_at = Now() + timedelta(seconds=receiver.timeout + _CLAIM_MARGIN)
            delivery.save(update_fields=("attempts", "claim_expires_at"))
    return delivery


def delete(delivery: Delivery) -> None:
    """Removes a delivery that arrived or expired."""
    _deliveries().filter(id=delivery.id).delete()


def mark_failure(delivery: Delivery, error: str, retry_in: float, *, give_up: bool = False) -> None:
    """Records a failed attempt, to be repeated in `retry_in` seconds, or given up.

    Does nothing if a newer attempt has begun.
    """
    give_up = give_up or timezone.now() - delivery.queued_at >= _MAX_AGE
    _deliveries().filter(id=delivery.id, attempts=delivery.attempts).update(
        claim_expires_at=None,
        due_at=Now() + timedelta(seconds=retry_in),
        last_error=error,
        failed_at=Now() if give_up else None,
    )


def pause(receiver: Receiver, seconds: float) -> None:
    """Sends nothing to a receiver for this time."""
    paused_until = Now() + timedelta(seconds=seconds)
    _positions().filter(receiver=receiver.name).update(paused_until=paused_until)


def count_deliveries() -> dict[str, dict[str, Any]]:
    """Returns `receiver`, `pending`, `failed` and the newest `last_error`, by the receiver."""
    errors = _deliveries().filter(receiver=OuterRef("receiver")).exclude(last_error=None)
    counts = (
        _deliveries()
        .values("receiver")
        .annotate(
            pending=Count("id", filter=Q(failed_at=None)),
            failed=Count("failed_at"),
            last_error=Subquery(errors.order_by("-id").values("last_error")[:1]),
        )
    )
    return {row["receiver"]: dict(row) for row in counts}


def retry_failed() -> int:
    """Queues the failed deliveries again, before newer ones of the same flag. Returns how many."""
    with transaction.atomic(using=conf.database):
        failed = _deliveries().exclude(failed_at=None)
        _positions().filter(receiver__in=failed.values("receiver")).update(paused_until=None)
        return failed.update(failed_at=None, attempts=0, due_at=Now(), queued_at=Now())


def discard_failed() -> int:
    """Deletes the failed deliveries. Returns how many."""
    deleted, _by_model = _deliveries().exclude(failed_at=None).delete()
    return deleted
