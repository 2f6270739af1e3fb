"""An event as a message for a receiver, in our format, and in those of Slack and of Sentry.

So is what happened to an action that waits.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from itertools import chain
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.timezone import is_aware, make_aware

from flagstaff.changes.rule_use import keys_that_name
from flagstaff.conf import conf
from flagstaff.contrib.webhooks.models import Delivery
from flagstaff.history import Kind
from flagstaff.history.describe import describe_actor, describe_change, names_of_actors
from flagstaff.history.log import Change, Difference, Event, events
from flagstaff.models import WaitingAction
from flagstaff.waiting.outlook import foresee
from flagstaff.waiting.stored import records_of, state_text, without_secrets

# The length of each value in the summary: Slack's text has room for the old and the new one.
_MAX_VALUE = 80
_PAST_TENSE = {"create": "created", "change": "changed", "delete": "deleted"}

# Slack allows 3,000 characters per block, and escaping can make a text five times as long. A block
# holds at most two short texts, or the reason.
_SLACK_MAX_TEXT, _SLACK_MAX_REASON = 250, 500
# The keys that use a segment.
_MAX_KEYS = 10

# Sentry refuses a request with a longer key or actor.
_SENTRY_MAX_LENGTH = 100
_SENTRY_ACTIONS = {"create": "created", "change": "updated", "delete": "deleted"}
# A change of any other field has no effect on results.
_DECISIVE = {"key", "enabled", "rollout_percent", "rules", "bucket_by"}


@dataclass(frozen=True)
class WebhookMessage:
    """The content of a message, as text and as fields."""

    event: Event
    summary: str
    actor_name: str
    #: The URL of the page of the flag, value or segment in the admin.
    link: str | None
    #: The keys of the flags, values and experiments that use a segment now; empty for other events.
    used_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Whether the actor is the primary key of a user.
    is_by_user: bool = False

    @property
    def at(self) -> datetime:
        """The time of the event, aware even if USE_TZ is False."""
        return self.event.at if is_aware(self.event.at) else make_aware(self.event.at)

    @property
    def type(self) -> str:
        """The event type, such as "flag.changed"."""
        return f"{self.event.kind}.{_PAST_TENSE[self.event.action]}"

    def id_for(self, receiver: str) -> str:
        """Returns an id that is the same at each attempt, so that receivers can drop duplicates."""
        return f"{receiver}-{self.event.version}-{int(self.at.timestamp())}"

    def as_dict(self, receiver: str) -> dict[str, object]:
        """Returns the body of the format "json"."""
        event = self.event
        return {
            "id": self.id_for(receiver),
            "type": self.type,
            "timestamp": self.at.isoformat(),
            "data": {
                "key": event.key,
                "kind": event.kind,
                "version": event.version,
                "summary": self.summary,
                "changes": {
                    difference.field: _sides(difference) for difference in event.differences
                },
                # Only counts: messages contain no user but the actor.
                "added": event.added.count,
                "removed": event.removed.count,
                "actor_name": self.actor_name,
                "actor": event.actor,
                "source": event.source,
                "reason": event.reason,
                "session_user": event.session_user,
                "transaction_id": event.transaction_id,
                "link": self.link,
                **self.used_by,
            },
        }


def load_event(entry_ids: Sequence[int]) -> Event | None:
    """Returns the event of these entries; None if they are no longer in the history."""
    return next(events(Change.objects.filter(id__in=entry_ids).newest()), None)


def create_message(event: Event) -> WebhookMessage:
    """Returns the message for an event. Queries the actor's name."""
    names = names_of_actors([event])
    return WebhookMessage(
        event,
        describe_change(event, limit=_MAX_VALUE),
        describe_actor(event, names),
        None if event.action == "delete" else admin_link(Kind(event.kind).model, event.object_pk),
        keys_that_name(Kind.SEGMENT, event.key) if event.kind == Kind.SEGMENT.value else {},
        is_by_user=event.actor in names,
    )


def _sides(difference: Difference) -> dict[str, object]:
    sides = {"old": difference.old, "new": difference.new}
    return {**sides, "secret": True} if difference.secret else sides


def admin_link(model: type[Model], pk: str) -> str | None:
    """Returns the URL of the page of a row in the admin; None without one."""
    if conf.site_url is None or not apps.is_installed("django.contrib.admin"):
        return None
    from django.contrib.admin.utils import quote  # noqa: PLC0415 (only if it is installed)

    meta = model._meta
    try:
        path = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(pk)])
    except NoReverseMatch:
        return None
    return conf.site_url.rstrip("/") + path


def as_slack(message: WebhookMessage) -> dict[str, Any]:
    """Returns the body of the format "slack": the notification's text, and the channel's blocks."""
    event, details = message.event, list[str]()
    if event.source:
        details.append(f"source: {_escaped(event.source)}")
    if keys := [*chain.from_iterable(message.used_by.values())]:
        more = len(keys) - _MAX_KEYS
        text = _escaped(", ".join(keys[:_MAX_KEYS]))
        details.append(f"used by {text} and {more:,} more" if more > 0 else f"used by {text}")
    return slack_body(
        event.key, message.summary, message.actor_name, message.link, event.reason, details
    )


def slack_body(  # noqa: PLR0913, PLR0917 (the parts of a message)
    key: str,
    summary: str,
    actor: str,
    link: str | None,
    reason: str | None,
    details: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns a body. The details are escaped already."""
    key, summary, actor = _escaped(key), _escaped(summary), f"by {_escaped(actor)}"
    title = f"<{link}|{key}>" if link else key
    blocks = [_slack_section(f"*{title}*  {summary}")]
    if reason:
        blocks.append(_slack_section(f"> {_escaped(reason, _SLACK_MAX_REASON)}"))
    context = _slack_text("  ·  ".join([actor, *details]))
    blocks.append({"type": "context", "elements": [context]})
    return {"text": f"{key}: {summary}, {actor}", "blocks": blocks}


def _escaped(text: str, max_length: int = _SLACK_MAX_TEXT) -> str:
    """Returns one line of limited length, without links and mentions."""
    line = " ".join(text.split())
    cut = line if len(line) <= max_length else f"{line[: max_length - 1]}…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _slack_text(text)}


def _slack_text(text: str) -> dict[str, Any]:
    # Without `verbatim` Slack turns plain words such as https://… and @name into links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def as_sentry(message: WebhookMessage) -> dict[str, Any] | None:
    """Returns the body of the format "sentry", with a record for each flag.

    None if the event changed no flag's results.
    """
    records = [*_sentry_records(message)]
    return {"meta": {"version": 1}, "data": records} if records else None


def sentry_headers(body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Returns the header with the signature of a message."""
    return {"X-Sentry-Signature": hmac.new(keys[0], body, sha256).hexdigest()}


def _sentry_records(message: WebhookMessage) -> Iterator[dict[str, Any]]:
    event = message.event
    for key in _changed_flags(message):
        if len(key) <= _SENTRY_MAX_LENGTH:
            yield {
                "action": _SENTRY_ACTIONS[event.action],
                "change_id": _change_id(event, key),
                "created_at": message.at.astimezone(timezone.utc).isoformat(timespec="seconds"),
                "created_by": _sentry_actor(message),
                "flag": key,
            }


def _changed_flags(message: WebhookMessage) -> Sequence[str]:
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


def _sentry_actor(message: WebhookMessage) -> dict[str, str]:
    """Returns the primary key of a user. For other actors, which can be names, the source."""
    actor, source = message.event.actor, message.event.source or "database"
    if actor is not None and message.is_by_user and "@" not in actor:
        return {"id": actor[:_SENTRY_MAX_LENGTH], "type": "id"}
    return {"id": source[:_SENTRY_MAX_LENGTH], "type": "name"}


# Actions that wait.

#: What a message has of an action: no arguments, which may name users.
_FIELDS = (
    "id",
    "what",
    "kind",
    "action",
    "keys",
    "state",
    "run_at",
    "reason",
    "asked_by_name",
    "approved_by_name",
    "approval",
    "ended_by_name",
    "result",
)
# The person who did it, and the time at which it was done.
_ASKED, _APPROVED, _ENDED = ("asked", "reason"), ("approved", "approval"), ("ended", "result")
_PARTS = {"asked": _ASKED, "approved": _APPROVED}


@dataclass(frozen=True)
class WaitingMessage:
    """What happened to an action, as a message. Its state may be a later one by now."""

    waiting: WaitingAction
    event: str
    record: Mapping[str, Any]

    @classmethod
    def of(cls, delivery: Delivery) -> WaitingMessage | None:
        """Returns the message; None if retention has deleted the action. Queries the names."""
        rows = WaitingAction.objects.using(conf.database).filter(pk=delivery.object_pk)
        for action in without_secrets(foresee(rows)):
            return cls(action, delivery.event, records_of([action])[0])
        return None

    def id_for(self, receiver: str) -> str:
        """Returns an id that is the same at each attempt, so that receivers can drop duplicates."""
        return f"{receiver}-waiting-{self.waiting.pk}-{self.event}"

    def as_dict(self, receiver: str) -> dict[str, object]:
        """Returns the body of the format "json"."""
        part, _why = _PARTS.get(self.event, _ENDED)
        at = getattr(self.waiting, f"{part}_at")
        return {
            "id": self.id_for(receiver),
            "type": f"waiting.{self.event}",
            "timestamp": (at if is_aware(at) else make_aware(at)).isoformat(),
            "data": {**{name: self.record[name] for name in _FIELDS}, "link": self._link},
        }

    def as_slack(self) -> dict[str, Any]:
        """Returns the body of the format "slack"."""
        part, why = _PARTS.get(self.event, _ENDED)
        summary = self.event if part == "ended" else f"{self.event}, {state_text(self.waiting)}"
        # What has run, ran for the person who asked.
        actor = self.record[f"{part}_by_name"] or self.record["asked_by_name"]
        return slack_body(self.record["what"], summary, actor, self._link, self.record[why])

    @property
    def _link(self) -> str | None:
        return admin_link(WaitingAction, self.waiting.key)
