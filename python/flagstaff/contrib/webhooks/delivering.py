"""One delivery run: serves all receivers in parallel, within a time limit."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from django.db import connections, transaction
from django.utils.translation import override

from flagstaff._core import monotonic
from flagstaff.conf import conf
from flagstaff.contrib.webhooks.queue import claim, count_deliveries, enqueue
from flagstaff.contrib.webhooks.receivers import WEBHOOKS, Receiver
from flagstaff.contrib.webhooks.send import send
from flagstaff.extensions import Column, Job, JobReport, Record
from flagstaff.history import require_history


@dataclass(frozen=True)
class DeliveryReport(JobReport):
    """The result of one delivery run for one receiver."""

    receiver: str
    #: Empty if the receiver is no longer in the settings.
    host: str
    #: Messages that the receiver accepted in this run.
    delivered: int = 0
    #: Attempts of this run that failed. Each is repeated later or given up.
    failed_attempts: int = 0
    #: Deliveries dropped in this run because their entries had left the history.
    expired: int = 0
    #: Deliveries still in the queue.
    pending: int = 0
    #: Deliveries given up, until `retry_failed` or `discard_failed`.
    failed: int = 0
    #: The newest error of an attempt.
    last_error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether something was sent, tried or dropped."""
        return bool(self.delivered or self.failed_attempts or self.expired)

    @property
    def has_given_up(self) -> bool:
        # Those that failed are an error until they are retried or discarded.
        return self.expired > 0

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON. Failed deliveries are an error of the run."""
        error = f"deliveries that failed: {self.failed:,}" if self.failed else None
        return {**super().as_dict(), "error": error}


def deliver(*, seconds: float = 20.0, stop: Event | None = None) -> list[DeliveryReport]:
    """Sends each receiver of WEBHOOKS the changes committed since the last run, and due retries.

    Blocks for about `seconds`, plus at most one receiver's timeout; the rest waits for the next
    run. `stop` ends the run earlier, between two messages. Runs may overlap. Raises NoHistoryError,
    RuntimeError inside a transaction, and database errors.
    """
    receivers = WEBHOOKS.current()
    # Checked here: each receiver's thread has its own connection, without the caller's transaction.
    with transaction.atomic(using=conf.database, durable=True):
        require_history()
    serve = partial(_serve, deadline=monotonic() + seconds, stop=stop or Event())
    # A slow receiver does not delay the others.
    with ThreadPoolExecutor(len(receivers) or 1, "flagstaff-webhooks") as threads:
        runs = [*threads.map(serve, receivers)]
    counts = count_deliveries()
    served = [
        DeliveryReport(
            **{
                "receiver": receiver.name,
                "host": receiver.host,
                **run,
                **counts.pop(receiver.name, {}),
            }
        )
        for receiver, run in zip(receivers, runs, strict=True)
    ]
    # Receivers that are no longer in the settings.
    return [*served, *(DeliveryReport(host="", **of_receiver) for of_receiver in counts.values())]


def _serve(receiver: Receiver, deadline: float, stop: Event) -> dict[str, int]:
    """Returns what the run did for a receiver, by the fields of a report."""
    outcomes: Counter[str] = Counter()
    try:
        # The active language is per thread, and programs read the texts too.
        with override(None):
            enqueue(receiver)
            while monotonic() < deadline and not stop.is_set() and (delivery := claim(receiver)):
                outcomes[send(receiver, delivery)] += 1
    finally:
        connections.close_all()
    del outcomes["skipped"]
    return outcomes


def _backlog() -> dict[str, int]:
    """Returns the numbers of all receivers together: their names are not public."""
    by_receiver = count_deliveries().values()
    return {state: sum(counts[state] for counts in by_receiver) for state in ("pending", "failed")}


def _style(record: Record) -> str | None:
    return "WARNING" if record["failed_attempts"] or record["failed"] else None


DELIVERIES = Job(
    name="deliveries",
    run=lambda stop: deliver(stop=stop),
    columns=(
        Column("receiver"),
        Column("host", truncate=True),
        Column("delivered", align_right=True),
        Column("failed_attempts", align_right=True, style=_style),
        Column("expired", align_right=True),
        Column("pending", align_right=True),
        Column("failed", align_right=True, style=_style),
        Column("last_error", truncate=True),
    ),
    is_slow=True,
    backlog=_backlog,
    advice='run "manage.py flags webhooks retry" or "webhooks discard"',
)
