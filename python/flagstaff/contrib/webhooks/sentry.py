"""A message in the format of Sentry's generic provider of feature flags, and its signature."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from datetime import timezone
from hashlib import sha256
from typing import Any

from flagstaff.contrib.webhooks.message import WebhookMessage
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Event

# Sentry refuses a request with a longer key or actor.
_MAX_LENGTH = 100
_ACTIONS = {"create": "created", "change": "updated", "delete": "deleted"}
# A change of any other field has no effect on results.
_DECISIVE = {"key", "enabled", "rollout_percent", "rules", "bucket_by"}


def as_sentry(message: WebhookMessage) -> dict[str, Any] | None:
    """Returns the body of the format "sentry", with a record for each flag.

    None if the event changed no flag's results.
    """
    records = [*_records(message)]
    return {"meta": {"version": 1}, "data": records} if records else None


def sentry_headers(body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Returns the header with the signature of a message."""
    return {"X-Sentry-Signature": hmac.new(keys[0], body, sha256).hexdigest()}


def _records(message: WebhookMessage) -> Iterator[dict[str, Any]]:
    event = message.event
    for key in _flags(message):
        if len(key) <= _MAX_LENGTH:
            yield {
                "action": _ACTIONS[event.action],
                "change_id": _change_id(event, key),
                "created_at": message.at.astimezone(timezone.utc).isoformat(timespec="seconds"),
                "created_by": _actor(message),
                "flag": key,
            }


def _flags(message: WebhookMessage) -> Sequence[str]:
    """Returns the keys of the flags that the event can have changed for a user."""
    event = message.event
    changed = {difference.field for difference in event.differences}
    if event.kind == Kind.FLAG.value:
        is_decisive = bool(changed & _DECISIVE or event.added.count or event.removed.count)
        return [event.key] if event.action != "change" or is_decisive else []
    # No rule names a segment that was just created, or deleted.
    if event.action != "change" or "conditions" not in changed:
        return []
    return message.used_by.get("flags", ())


def _change_id(event: Event, key: str) -> int:
    """Returns an id that is the same at each attempt. Sentry drops records with an equal one."""
    if event.kind == Kind.FLAG.value:
        return event.version
    digest = sha256(f"{event.version}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # A signed integer of 64 bits.


def _actor(message: WebhookMessage) -> dict[str, str]:
    """Returns the primary key of a user. For other actors, which can be names, the source."""
    actor, source = message.event.actor, message.event.source or "database"
    if actor is not None and message.is_by_user and "@" not in actor:
        return {"id": actor[:_MAX_LENGTH], "type": "id"}
    return {"id": source[:_MAX_LENGTH], "type": "name"}
