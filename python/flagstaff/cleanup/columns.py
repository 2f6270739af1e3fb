"""The columns of a flag that a flag model may lack: its owner, tags, review date and others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from flagstaff._text.times import aware

__all__ = ["OptionalColumns", "optional_columns"]


@dataclass(frozen=True)
class OptionalColumns:
    """Their values. A column that the model lacks is empty."""

    owner: str
    tags: tuple[str, ...]
    review_on: date | None
    kind: str
    client_side: bool
    created_at: datetime | None
    changed_at: datetime | None


def optional_columns(flag: Any) -> OptionalColumns:
    """Returns the columns of a flag. Another column of one of these names is ignored."""
    # Not getattr: a project's own relation of such a name would be a query for each flag.
    stored = vars(flag)
    owner, tags, kind = stored.get("owner"), stored.get("tags"), stored.get("kind")
    return OptionalColumns(
        owner=owner if isinstance(owner, str) else "",
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        review_on=_date(stored.get("review_on")),
        kind=kind if isinstance(kind, str) else "",
        client_side=stored.get("client_side") is True,
        created_at=_time(stored.get("created_at")),
        changed_at=_time(stored.get("changed_at")),
    )


def _date(value: object) -> date | None:
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _time(value: object) -> datetime | None:
    return aware(value) if isinstance(value, datetime) else None
