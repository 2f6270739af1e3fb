"""Messages about actions that wait. The transaction that changes an action queues them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.timezone import is_aware, make_aware

from flagstaff.conf import conf
from flagstaff.contrib.webhooks.message import admin_link, slack_body
from flagstaff.contrib.webhooks.models import Delivery
from flagstaff.contrib.webhooks.receivers import WEBHOOKS
from flagstaff.models import WaitingAction
from flagstaff.waiting.outlook import foresee
from flagstaff.waiting.stored import records_of, state_text, without_secrets

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


def enqueue_waiting(waiting: WaitingAction, event: str) -> None:
    """Queues what happened to an action for each receiver. Belongs to the present transaction."""
    Delivery.objects.using(conf.database).bulk_create(
        Delivery(
            receiver=receiver.name,
            kind=WaitingAction.SOURCE,
            object_pk=waiting.key,
            key=waiting.key,
            entry_ids=[],
            event=event,
        )
        for receiver in WEBHOOKS.current()
    )


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
