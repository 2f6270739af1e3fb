"""An event as a message for another program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.events import Difference, Event
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.users import names_of_actors
from flagstaff.history.versions import all_entries

__all__ = ["Message", "event_of", "message_of"]

_PAST = {"create": "created", "change": "changed", "delete": "deleted"}


@dataclass(frozen=True)
class Message:
    """What is told of an event, in words and in fields."""

    event: Event
    what: str
    who: str
    #: How many users there are, were given the flag and lost it; None where that is not known.
    impact: dict[str, int] | None
    link: str | None

    @property
    def at(self) -> datetime:
        """When it was, with its zone, also where the project's times have none."""
        at = self.event.at
        return at if timezone.is_aware(at) else timezone.make_aware(at)

    @property
    def type(self) -> str:
        """Such as "flag.changed"."""
        return f"{self.event.kind}.{_PAST[self.event.action]}"

    def id_for(self, receiver: str) -> str:
        """The same at each attempt, so that a receiver can drop what comes twice."""
        return f"{receiver}-{self.event.version}-{int(self.at.timestamp())}"

    def as_dict(self, receiver: str) -> dict[str, Any]:
        """What the format "json" sends."""
        event = self.event
        return {
            "id": self.id_for(receiver),
            "type": self.type,
            "timestamp": self.at.isoformat(),
            "data": {
                "key": event.key,
                "kind": event.kind,
                "version": event.version,
                "what": self.what,
                "changes": {one.field: _sides(one) for one in event.differences},
                # How many, and not who.
                "added": event.added.count,
                "removed": event.removed.count,
                "who": self.who,
                "actor": event.actor,
                "source": event.source,
                "reason": event.reason,
                "session_user": event.session_user,
                "transaction_id": event.transaction_id,
                "impact": self.impact,
                "link": self.link,
            },
        }


def event_of(*, is_value: bool, entries: Sequence[int]) -> Event | None:
    """The event that these entries tell of; None where they have left the history."""
    kind = Kind.VALUE if is_value else Kind.FLAG
    found = events_among(kind, all_entries().filter(id__in=entries))
    return found[0] if found else None


def message_of(event: Event, impact: dict[str, int] | None) -> Message:
    """What is told of an event."""
    names = names_of_actors([event])
    return Message(
        event, describe_change(event), describe_actor(event, names), impact, _link(event)
    )


def _sides(one: Difference) -> dict[str, Any]:
    sides = {"old": one.old, "new": one.new}
    return {**sides, "secret": True} if one.secret else sides


def _link(event: Event) -> str | None:
    """The page in the admin, where there is one."""
    if conf.site_url is None or event.action == "delete":
        return None
    if not apps.is_installed("django.contrib.admin"):
        return None
    from django.contrib.admin.utils import quote  # noqa: PLC0415 (only where it is installed)

    meta = Kind(event.kind).model._meta
    try:
        name = f"admin:{meta.app_label}_{meta.model_name}_change"
        path = reverse(name, args=[quote(event.object_pk)])
    except NoReverseMatch:
        return None
    return conf.site_url.rstrip("/") + path
