"""One attempt at one delivery: create the message, send it, record the outcome."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Literal, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError

from flagstaff._engine.status_log import logger
from flagstaff.webhooks.http import Response, UnreachableError, post
from flagstaff.webhooks.message import WebhookMessage, create_message, load_event
from flagstaff.webhooks.queue import Delivery, mark_delivered, mark_failure, pause
from flagstaff.webhooks.receivers import Receiver
from flagstaff.webhooks.retry import MAX_PAUSE, retry_after_seconds, retry_delay
from flagstaff.webhooks.sentry import as_sentry, sentry_headers
from flagstaff.webhooks.slack import as_slack

#: An event that the format of the receiver has no place for is skipped.
Outcome = Literal["delivered", "failed_attempt", "expired", "skipped"]

_ACCEPTED = range(200, 300)
# Too many requests, and the responses of a proxy whose server is down.
_PAUSES_RECEIVER = (429, 502, 503, 504)
_GONE = 410
_RETRIED = (
    "it is retried for three days and then fails; run-jobs --discard-failed deletes failed ones"
)


class Attempt(NamedTuple):
    """The outcome of an attempt, and the error if it failed."""

    outcome: Outcome
    error: str | None = None


def send(receiver: Receiver, delivery: Delivery) -> Attempt:
    """Makes one attempt and records it. Blocks for at most the timeout. Raises database errors."""
    try:
        event = load_event(delivery.entry_ids)
        if event is None:
            mark_delivered(delivery)
            return Attempt("expired")
        message = create_message(event)
        content = _content(receiver, message)
        body = json.dumps(content, cls=DjangoJSONEncoder).encode()
    # A message that cannot be created must not block all others.
    except Exception as error:
        if isinstance(error, DatabaseError):
            raise
        text = f"the message cannot be created: {type(error).__name__}; {_RETRIED}"
        logger.warning("%s: %s", receiver.name, text)
        return _failed(delivery, text)
    if content is None:
        mark_delivered(delivery)
        return Attempt("skipped")
    try:
        response = post(receiver, body, _headers(receiver, message, body))
    except UnreachableError as error:
        return _unreachable(receiver, delivery, str(error))
    if response.status in _ACCEPTED:
        mark_delivered(delivery)
        return Attempt("delivered")
    return _refused(receiver, delivery, response)


def _content(receiver: Receiver, message: WebhookMessage) -> Mapping[str, object] | None:
    """Returns the body as an object; None if the format has no place for the event."""
    if receiver.format == "sentry":
        return as_sentry(message)
    return as_slack(message) if receiver.format == "slack" else message.as_dict(receiver.name)


def _headers(receiver: Receiver, message: WebhookMessage, body: bytes) -> dict[str, str]:
    common = {"Content-Type": "application/json", "User-Agent": "django-flagstaff"}
    if receiver.format == "sentry":
        return {**common, **sentry_headers(body, receiver.secrets)}
    message_id, now = message.id_for(receiver.name), int(_now().timestamp())
    return {**common, **signature_headers(message_id, now, body, receiver.secrets)}


def _refused(receiver: Receiver, delivery: Delivery, response: Response) -> Attempt:
    error = f"status {response.status}"
    if response.status in _PAUSES_RECEIVER:
        return _unreachable(receiver, delivery, error, response.retry_after)
    return _failed(delivery, error, give_up=response.status == _GONE)


def _failed(delivery: Delivery, error: str, *, give_up: bool = False) -> Attempt:
    mark_failure(delivery, error, retry_delay(delivery.attempts), give_up=give_up)
    return Attempt("failed_attempt", error)


def _unreachable(
    receiver: Receiver,
    delivery: Delivery,
    error: str,
    retry_after: str | None = None,
) -> Attempt:
    """Records the failure and pauses the receiver, because its other messages would fail too."""
    delay = retry_delay(delivery.consecutive_failures + 1, MAX_PAUSE)
    seconds = max(delay, retry_after_seconds(retry_after, _now()))
    # The delivery that is due first then tests whether the receiver is back.
    mark_failure(delivery, error, seconds, give_up=False)
    pause(receiver, seconds)
    return Attempt("failed_attempt", error)


def _now() -> datetime:
    """Returns the time with its zone, even if USE_TZ is False."""
    return datetime.now(timezone.utc)


def signature_headers(
    message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """Returns the headers of a message, with one signature per key.

    During a key rotation the receiver knows one of two keys. Without a key there is no signature.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{_signature(content, key)}" for key in keys]
    return {**headers, "webhook-signature": " ".join(signatures)} if signatures else headers


def _signature(content: bytes, key: bytes) -> str:
    return b64encode(hmac.digest(key, content, "sha256")).decode()
