"""Reads entries, with long lists of users cut short in the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Case, F, Func, IntegerField, JSONField, QuerySet, Value, When

from flagstaff.history.events import Row
from flagstaff.history.kinds import ALLOWED_USERS
from flagstaff.models import Change

__all__ = ["read"]

_BATCH = 200
_IN_ALLOW_LIST = {"relation": ALLOWED_USERS}
_FIELDS = (
    *("id", "at", "transaction_id", "relation", "object_pk", "key", "action"),
    *("actor", "source", "reason", "session_user", "role", "application_name"),
)


def read(found: QuerySet[Change], *, most_users: int | None) -> Iterator[Row]:
    """The entries, newest first, read as far as somebody goes on."""
    asked = found.order_by("-id").values(*_FIELDS, **_lists(most_users))
    below: int | None = None
    while True:
        batch = list((asked if below is None else asked.filter(id__lt=below))[:_BATCH])
        for entry in batch:
            yield {**entry, "old": entry["then_old"], "new": entry["then_new"]}
        if len(batch) < _BATCH:
            return
        below = batch[-1]["id"]


def _lists(most: int | None) -> dict[str, Any]:
    return {
        "then_old": _cut("old", most),
        "then_new": _cut("new", most),
        "removed": _length("old"),
        "added": _length("new"),
    }


def _cut(field: str, most: int | None) -> Any:
    if most is None:
        return F(field)
    if most == 0:
        head: Any = Value([], output_field=JSONField())
    else:
        path = Func(Value(f"$[0 to {most - 1}]"), template="(%(expressions)s)::jsonpath")
        head = Func(F(field), path, function="jsonb_path_query_array", output_field=JSONField())
    return Case(When(**_IN_ALLOW_LIST, then=head), default=F(field), output_field=JSONField())


def _length(field: str) -> Any:
    length = Func(F(field), function="jsonb_array_length", output_field=IntegerField())
    return Case(When(**_IN_ALLOW_LIST, then=length), default=Value(0))
