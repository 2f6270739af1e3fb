"""One delivery: the message is made, sent, and its outcome noted."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError

from flagstaff._engine.status_log import logger
from flagstaff.conf.receivers import Receiver
from flagstaff.webhooks.http import Answer, UnreachableError, post
from flagstaff.webhooks.impact import Reach
from flagstaff.webhooks.message import Message, event_of, message_of
from flagstaff.webhooks.queue import Delivery, mark_delivered, mark_failure, rest
from flagstaff.webhooks.retry import CIRCUIT_LONGEST, asked_for, wait
from flagstaff.webhooks.sign import signed
from flagstaff.webhooks.slack import as_slack

__all__ = ["Outcome", "send"]

#: Arrived; not; not, and the receiver is to be left alone; or no longer in the history.
Outcome = Literal["delivered", "failed", "unreachable", "gone"]

_ARRIVED = range(200, 300)
# Too many requests, and what stands before a receiver that is away.
_ASKS_FOR_REST = (429, 502, 503, 504)
_NEVER_AGAIN = 410


def send(receiver: Receiver, delivery: Delivery, reach: Reach) -> tuple[Outcome, str | None]:
    """Try once; how that removed, and what was wrong. Raises what the database raises."""
    try:
        event = event_of(is_value=delivery.is_value, entries=delivery.entries)
        if event is None:
            mark_delivered(delivery)
            return "gone", None
        impact = delivery.impact or reach.of(event, delivery.entries)
        message = message_of(event, impact)
        body = _body(receiver, message)
    except DatabaseError:
        raise
    # One message that cannot be made must not keep all others back.
    except Exception as error:  # noqa: BLE001
        logger.warning("a message cannot be made: %s", type(error).__name__)
        return _failed(receiver, delivery, f"cannot be made: {type(error).__name__}", None)
    try:
        answer = post(receiver, body, _headers(receiver, message, body))
    except UnreachableError as error:
        return _unreachable(receiver, delivery, str(error), impact)
    if answer.status in _ARRIVED:
        mark_delivered(delivery)
        return "delivered", None
    return _refused(receiver, delivery, answer, impact)


def _body(receiver: Receiver, message: Message) -> bytes:
    is_slack = receiver.format == "slack"
    content: Any = as_slack(message) if is_slack else message.as_dict(receiver.name)
    return json.dumps(content, cls=DjangoJSONEncoder).encode()


def _headers(receiver: Receiver, message: Message, body: bytes) -> dict[str, str]:
    now = int(_now().timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": "django-flagstaff",
        **signed(message.id_for(receiver.name), now, body, receiver.secrets),
    }


def _refused(
    receiver: Receiver, delivery: Delivery, answer: Answer, impact: dict[str, int] | None
) -> tuple[Outcome, str]:
    """It answered, but did not take it."""
    error = f"status {answer.status}"
    if answer.status in _ASKS_FOR_REST:
        return _unreachable(receiver, delivery, error, impact, answer.retry_after)
    return _failed(receiver, delivery, error, impact, dead=answer.status == _NEVER_AGAIN)


def _failed(
    receiver: Receiver,
    delivery: Delivery,
    error: str,
    impact: dict[str, int] | None,
    *,
    dead: bool = False,
) -> tuple[Outcome, str]:
    mark_failure(delivery, error, wait(delivery.attempts), impact, dead=dead)
    return "failed", error


def _unreachable(
    receiver: Receiver,
    delivery: Delivery,
    error: str,
    impact: dict[str, int] | None,
    retry_after: str | None = None,
) -> tuple[Outcome, str]:
    """Whatever else waits for it would not arrive either, so that it is left alone."""
    asked = asked_for(retry_after, _now())
    seconds = max(wait(delivery.failures + 1, CIRCUIT_LONGEST), asked)
    # The one that is due first asks whether it is back.
    mark_failure(delivery, error, seconds, impact, dead=False)
    rest(receiver, seconds)
    return "unreachable", error


def _now() -> datetime:
    """Also where the project's times have no zone."""
    return datetime.now(timezone.utc)
