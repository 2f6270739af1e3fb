"""One delivery run: serves all receivers in parallel, within a time limit.

Each attempt creates the message, sends it and records the outcome.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connections, transaction
from django.utils.translation import override

from flagstaff._core import monotonic
from flagstaff.conf import conf
from flagstaff.contrib.webhooks.http import UnreachableError, post
from flagstaff.contrib.webhooks.message import (
    WaitingMessage,
    WebhookMessage,
    as_sentry,
    as_slack,
    create_message,
    load_event,
    sentry_headers,
)
from flagstaff.contrib.webhooks.models import Delivery
from flagstaff.contrib.webhooks.queue import (
    claim,
    count_deliveries,
    delete,
    enqueue,
    mark_failure,
    pause,
)
from flagstaff.contrib.webhooks.receivers import WEBHOOKS, Receiver
from flagstaff.extensions import Column, Job, JobReport, Record
from flagstaff.history import require_history

#: The fields of a report. An event that the format of the receiver has no place for is skipped.
Outcome = Literal["delivered", "failed_attempts", "expired", "skipped"]

logger = logging.getLogger("flagstaff")

_ACCEPTED = range(200, 300)
_GONE = 410
_INITIAL_DELAY, _MAX_DELAY = 5, 3600


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


class _RefusedError(Exception):
    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def send(receiver: Receiver, delivery: Delivery) -> Outcome:
    """Makes one attempt and records it. Blocks for at most the timeout. Raises database errors."""
    try:
        outcome = _attempt(receiver, delivery)
    except UnreachableError as error:
        mark_failure(delivery, str(error), error.pause)
        # The other messages would fail too.
        pause(receiver, error.pause)
    except _RefusedError as error:
        delay = retry_delay(delivery.attempts)
        mark_failure(delivery, str(error), delay, give_up=error.is_final)
    else:
        delete(delivery)
        return outcome
    return "failed_attempts"


def _attempt(receiver: Receiver, delivery: Delivery) -> Outcome:
    try:
        message = _message_of(delivery)
        if message is None:
            return "expired"
        content = _content(receiver, message)
        body = json.dumps(content, cls=DjangoJSONEncoder).encode()
    # A message that cannot be created must not block all others.
    except Exception as error:
        if isinstance(error, DatabaseError):
            raise
        text = (
            f"the message cannot be created: {type(error).__name__}; it is retried for three days "
            'and then fails; to delete failed ones, run "manage.py flags webhooks discard"'
        )
        logger.warning("%s: %s", receiver.name, text)
        raise _RefusedError(text) from None
    if content is None:
        return "skipped"
    status = post(receiver, body, _headers(receiver, message, body))
    if status not in _ACCEPTED:
        raise _RefusedError(f"status {status}", is_final=status == _GONE)
    return "delivered"


def _message_of(delivery: Delivery) -> WebhookMessage | WaitingMessage | None:
    if delivery.event:
        return WaitingMessage.of(delivery)
    event = load_event(delivery.entry_ids)
    return None if event is None else create_message(event)


def retry_delay(attempts: int) -> float:
    """Returns the seconds until the next attempt: 5 s, then twice as long each time."""
    return float(min(_INITIAL_DELAY * 2 ** (attempts - 1), _MAX_DELAY))


def _content(
    receiver: Receiver, message: WebhookMessage | WaitingMessage
) -> Mapping[str, object] | None:
    """Returns the body as an object; None if the format has no place for the event."""
    if receiver.format == "json":
        return message.as_dict(receiver.name)
    is_slack = receiver.format == "slack"
    if isinstance(message, WaitingMessage):
        return message.as_slack() if is_slack else None
    return as_slack(message) if is_slack else as_sentry(message)


def _headers(
    receiver: Receiver, message: WebhookMessage | WaitingMessage, body: bytes
) -> dict[str, str]:
    common = {"Content-Type": "application/json", "User-Agent": "django-flagstaff"}
    if receiver.format == "sentry":
        return common | sentry_headers(body, receiver.secrets)
    message_id, now = message.id_for(receiver.name), int(time.time())
    return common | signature_headers(message_id, now, body, receiver.secrets)


def signature_headers(
    message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """Returns the headers of a message, with one signature per key.

    During a key rotation the receiver knows one of two keys. Without a key there is no signature.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, content, "sha256") for key in keys)
    signatures = " ".join(f"v1,{b64encode(digest).decode()}" for digest in digests)
    return {**headers, "webhook-signature": signatures} if signatures else headers
