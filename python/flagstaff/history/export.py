"""Events as dicts and as CSV, for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from io import StringIO
from typing import Any

from flagstaff._text.times import aware
from flagstaff.history.log import Event

_COLUMNS = (
    "version",
    "at",
    "transaction_id",
    "kind",
    "key",
    "object_pk",
    "action",
    "differences",
    "added",
    "removed",
    "actor",
    "source",
    "reason",
    "session_user",
    "role",
    "application_name",
)
# Spreadsheets take a text with such a beginning for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def as_dicts(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Returns the events as dicts that JSON can hold. Secret values are left out."""
    return [
        {**asdict(replace(event, entries=())), "at": aware(event.at).isoformat()}
        for event in events
    ]


def as_csv(events: Iterable[Event]) -> str:
    """Returns the events as CSV with a header. `differences` and the users are JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    return "".join(csv_lines(events))


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """Yields the lines of `as_csv` as the events are read, for a response of any length."""
    out = StringIO()
    writer = csv.DictWriter(out, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    yield out.getvalue()
    for event in events:
        out.seek(0)
        out.truncate()
        [record] = as_dicts([event])
        writer.writerow({name: _cell(value) for name, value in record.items()})
        yield out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value
