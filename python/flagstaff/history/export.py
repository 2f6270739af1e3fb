"""Events as rows for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from io import StringIO
from typing import Any

from flagstaff.history.events import Event

__all__ = ["as_csv", "as_dicts"]

_COLUMNS = (
    *("version", "at", "transaction_id", "kind", "key", "object_pk", "action", "differences"),
    *("added", "removed", "actor", "source", "reason", "session_user", "role", "application_name"),
)
# A spreadsheet takes a text that begins so for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def as_dicts(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Each event as a dict that JSON can hold. Of a secret value neither side is given."""
    return [{**asdict(event), "at": event.at.isoformat()} for event in events]


def as_csv(events: Iterable[Event]) -> str:
    """A table with a header. What the event changed, and its users, are cells of JSON.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    out = StringIO()
    writer = csv.DictWriter(out, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for record in as_dicts(events):
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value
