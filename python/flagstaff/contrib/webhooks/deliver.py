"""One delivery run: serves all receivers in parallel, within a time limit."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from threading import Event

from django.db import connections, transaction
from django.utils.translation import override

from flagstaff._core import monotonic
from flagstaff.conf import conf
from flagstaff.contrib.webhooks.queue import (
    QueueCounts,
    claim,
    count_deliveries,
    delete_removed,
    discard_failed,
    enqueue,
    require_tables,
    retry_failed,
)
from flagstaff.contrib.webhooks.receivers import Receiver
from flagstaff.contrib.webhooks.send import Outcome, send

__all__ = ["DeliveryReport", "deliver", "discard_failed", "retry_failed"]


@dataclass(frozen=True)
class DeliveryReport:
    """The result of one delivery run for one receiver."""

    receiver: str
    #: Empty if the receiver is no longer in the settings.
    host: str
    #: Messages that the receiver accepted in this run.
    delivered: int = 0
    #: Attempts of this run that failed. Each is repeated later or given up.
    failed_attempts: int = 0
    #: Deliveries dropped in this run because their entries had left the history, or because the
    #: receiver has not been in the settings for three days.
    expired: int = 0
    #: Deliveries still in the queue.
    pending: int = 0
    #: Deliveries given up, until `retry_failed` or `discard_failed`.
    failed: int = 0
    #: The newest error.
    error: str | None = None

    def as_dict(self) -> dict[str, str | int | None]:
        """Returns the report as a dict for JSON."""
        return asdict(self)


def deliver(*, seconds: float = 20.0, stop: Event | None = None) -> list[DeliveryReport]:
    """Sends each receiver of WEBHOOKS the changes committed since the last run, and due retries.

    Blocks for about `seconds`, plus at most one receiver's timeout; the rest waits for the next
    run. `stop` ends the run earlier, between two messages. Runs may overlap. Deletes deliveries of
    receivers that have not been in WEBHOOKS for three days. Raises
    NoWebhooksError, RuntimeError inside a transaction, and database errors.
    """
    receivers: tuple[Receiver, ...] = conf.webhooks
    # Checked here: each receiver's thread has its own connection, without the caller's transaction.
    with transaction.atomic(using=conf.database, durable=True):
        require_tables()
    runs = _serve_all(receivers, monotonic() + seconds, stop or Event())
    expired = delete_removed([receiver.name for receiver in receivers])
    counts = count_deliveries()
    reports = [
        _report(receiver, run, counts.pop(receiver.name, QueueCounts()))
        for receiver, run in zip(receivers, runs, strict=True)
    ]
    # Receivers that are no longer in the settings.
    removed = [
        DeliveryReport(name, "", pending=left.pending, failed=left.failed)
        for name, left in counts.items()
    ]
    deleted = [DeliveryReport(name, "", expired=count) for name, count in expired.items()]
    return [*reports, *removed, *deleted]


@dataclass(frozen=True)
class _Run:
    """What one run did for one receiver."""

    outcomes: Counter[Outcome]
    error: str | None


def _serve_all(receivers: tuple[Receiver, ...], deadline: float, stop: Event) -> list[_Run]:
    """Serves each receiver in its own thread, so that a slow one does not delay the others."""
    if len(receivers) < 2:  # noqa: PLR2004 (there is no other receiver to delay)
        return [_serve(receiver, deadline, stop) for receiver in receivers]
    with ThreadPoolExecutor(len(receivers), "flagstaff-webhooks") as threads:
        futures = [
            threads.submit(_serve_in_thread, receiver, deadline, stop) for receiver in receivers
        ]
        return [future.result() for future in futures]


def _serve_in_thread(receiver: Receiver, deadline: float, stop: Event) -> _Run:
    try:
        return _serve(receiver, deadline, stop)
    finally:
        connections.close_all()


def _serve(receiver: Receiver, deadline: float, stop: Event) -> _Run:
    outcomes: Counter[Outcome] = Counter()
    last_error: str | None = None
    # The active language is per thread, and programs read the texts too.
    with override(None):
        enqueue(receiver)
        while monotonic() < deadline and not stop.is_set():
            delivery = claim(receiver)
            if delivery is None:
                break
            outcome, error = send(receiver, delivery)
            outcomes[outcome] += 1
            last_error = error or last_error
    return _Run(outcomes, last_error)


def _report(receiver: Receiver, run: _Run, left: QueueCounts) -> DeliveryReport:
    return DeliveryReport(
        receiver.name,
        receiver.host,
        delivered=run.outcomes["delivered"],
        failed_attempts=run.outcomes["failed_attempt"],
        expired=run.outcomes["expired"],
        pending=left.pending,
        failed=left.failed,
        error=run.error or left.last_error,
    )
