"""A tick: every receiver is told what there is, side by side, within a time."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any

from django.db import connections, transaction
from django.utils.translation import override

from flagstaff.conf import conf
from flagstaff.conf.receivers import Receiver
from flagstaff.webhooks.impact import Reach
from flagstaff.webhooks.queue import (
    Counted,
    claim,
    count,
    discard_failed,
    require_tables,
    retry_failed,
    take,
)
from flagstaff.webhooks.send import Outcome, send

__all__ = ["DeliveryReport", "deliver", "discard_failed", "retry_failed"]


@dataclass(frozen=True)
class DeliveryReport:
    """What a tick has told a receiver."""

    receiver: str
    #: Empty where the receiver is not in the settings any more.
    host: str
    delivered: int = 0
    failed_attempts: int = 0
    #: What had left the history before it could be told.
    expired: int = 0
    #: What it has yet to be told, and what was given up.
    pending: int = 0
    failed: int = 0
    #: Of the last failure.
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        return asdict(self)


def deliver(*, seconds: float = 20.0, stop: Event | None = None) -> list[DeliveryReport]:
    """Tell each receiver of WEBHOOKS what was committed since the last tick, and what is due again.

    Blocks for about `seconds` at most, and for the timeout of a receiver beyond them; what is left
    waits for the next tick. `stop` ends it sooner, between two messages. Ticks may run side by
    side. Raises NoWebhooksError, RuntimeError within a transaction, and what the database raises.
    """
    receivers = conf.webhooks
    # Here, for a receiver's thread has a connection of its own, and knows of no transaction.
    with transaction.atomic(using=conf.database, durable=True):
        require_tables()
    until = time.monotonic() + seconds
    stop = stop or Event()
    done = _all_served(receivers, until, stop)
    left = count()
    told = [
        _told(receiver, outcomes, error, left.pop(receiver.name, Counted()))
        for receiver, (outcomes, error) in zip(receivers, done, strict=True)
    ]
    strangers = [
        DeliveryReport(name, "", pending=c.waiting, failed=c.dead) for name, c in left.items()
    ]
    return [*told, *strangers]


_Served = tuple[Counter[Outcome], str | None]


def _all_served(receivers: tuple[Receiver, ...], until: float, stop: Event) -> list[_Served]:
    """Each in a thread of its own, so that one that is slow keeps none of the others waiting."""
    reach = Reach()
    if len(receivers) < 2:  # noqa: PLR2004 (nobody else to keep waiting)
        return [_serve(receiver, reach, until, stop) for receiver in receivers]
    with ThreadPoolExecutor(len(receivers), "flagstaff-outbox") as threads:
        started = [threads.submit(_in_a_thread, one, reach, until, stop) for one in receivers]
        return [one.result() for one in started]


def _in_a_thread(receiver: Receiver, reach: Reach, until: float, stop: Event) -> _Served:
    try:
        return _serve(receiver, reach, until, stop)
    finally:
        connections.close_all()


def _serve(receiver: Receiver, reach: Reach, until: float, stop: Event) -> _Served:
    outcomes: Counter[Outcome] = Counter()
    error: str | None = None
    # A language is a thread's own, and a program reads the words too.
    with override(None):
        take(receiver)
        while time.monotonic() < until and not stop.is_set():
            delivery = claim(receiver)
            if delivery is None:
                break
            outcome, wrong = send(receiver, delivery, reach)
            outcomes[outcome] += 1
            error = wrong or error
    return outcomes, error


def _told(
    receiver: Receiver, outcomes: Counter[Outcome], error: str | None, left: Counted
) -> DeliveryReport:
    return DeliveryReport(
        receiver.name,
        receiver.host,
        delivered=outcomes["delivered"],
        failed_attempts=outcomes["failed"] + outcomes["unreachable"],
        expired=outcomes["gone"],
        pending=left.waiting,
        failed=left.dead,
        error=error or left.error,
    )
