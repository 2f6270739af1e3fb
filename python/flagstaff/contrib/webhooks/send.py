"""One attempt at one delivery: create the message, send it, record the outcome."""

from __future__ import annotations

import hmac
import json
import logging
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError

from flagstaff.contrib.webhooks.http import UnreachableError, post
from flagstaff.contrib.webhooks.message import WebhookMessage, create_message, load_event
from flagstaff.contrib.webhooks.models import Delivery
from flagstaff.contrib.webhooks.queue import delete, mark_failure, pause
from flagstaff.contrib.webhooks.receivers import Receiver
from flagstaff.contrib.webhooks.sentry import as_sentry, sentry_headers
from flagstaff.contrib.webhooks.slack import as_slack
from flagstaff.contrib.webhooks.waiting import WaitingMessage

#: The fields of a report. An event that the format of the receiver has no place for is skipped.
Outcome = Literal["delivered", "failed_attempts", "expired", "skipped"]

logger = logging.getLogger("flagstaff")

_ACCEPTED = range(200, 300)
_GONE = 410
_INITIAL_DELAY, _MAX_DELAY = 5, 3600


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
