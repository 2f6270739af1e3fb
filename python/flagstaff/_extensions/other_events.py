"""Events of optional apps, in the form in which the page of recent changes shows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class OtherEvent:
    """Something that happened to a row of an optional app, such as a rollout plan."""

    at: datetime
    #: The key of the row, and its page in the admin.
    key: str
    url: str
    #: What happened, as a sentence.
    text: str
    #: As the history stores it; empty if it is not known.
    actor: str = ""
    reason: str = ""
    is_creation: bool = False


@dataclass(frozen=True)
class EventQuery:
    """The conditions of the events that a page shows. None allows all."""

    key: str | None = None
    #: A part of the key, ignoring case.
    key_part: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    actors: Collection[str] | None = None
    limit: int = 50
