"""An event as a message for a receiver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.apps import apps
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.timezone import is_aware, make_aware

from flagstaff.changes.segment_use import keys_that_name
from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.differences import Difference
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import names_of_actors

# The length of each value in the summary: Slack's text has room for the old and the new one.
_MAX_VALUE = 80
_PAST_TENSE = {"create": "created", "change": "changed", "delete": "deleted"}


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
        keys_that_name(event.key) if event.kind == Kind.SEGMENT.value else {},
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
