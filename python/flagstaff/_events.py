"""An event of the history: what one transaction did to one row under one author.

Imports no other module, so that the exceptions can name events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Action = Literal["create", "change", "delete"]


@dataclass(frozen=True)
class Difference:
    """A field that an event changed."""

    field: str
    old: Any
    new: Any
    #: True if the value is secret, or its choices. Then `old` and `new` are None.
    secret: bool = False


@dataclass(frozen=True)
class Users:
    """Users that an event added to the allowed users, or removed."""

    count: int = 0
    #: Their primary keys; of a long list only the first ones.
    pks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Event:
    """What one transaction did to one flag, value or segment under one author."""

    #: The version that the event made: the id of its newest entry.
    version: int
    #: The id of its oldest entry. The version before is below it.
    first: int
    at: datetime
    #: Events of one transaction have the same number.
    transaction_id: int
    kind: Literal["flag", "value", "segment"]
    key: str
    object_pk: str
    action: Action
    #: The changed fields of the row. Of a created or deleted row, all fields.
    differences: tuple[Difference, ...]
    added: Users
    removed: Users
    #: Set by the application, which the database cannot verify; or None.
    actor: str | None
    source: str | None
    reason: str | None
    #: Recorded by the database itself.
    session_user: str
    role: str
    application_name: str
    #: Of an undo, the first and the last version of each event that it took back.
    undoes: tuple[tuple[int, int], ...] = ()
