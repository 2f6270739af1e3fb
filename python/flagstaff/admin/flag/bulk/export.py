"""Flags as CSV, for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from flagstaff._tables.flag_states import FlagState, state_of
from flagstaff._tables.model_fields import OWNER, REVIEW_ON, RULES, TAGS
from flagstaff._tables.rows import all_rows
from flagstaff._tables.tags import joined_tags
from flagstaff._tables.user_lookup import batches
from flagstaff._words.times import aware
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.form.rules import count_rules
from flagstaff.admin.flag.list.conditions import has_usage
from flagstaff.admin.flag.list.facts import PageFacts, count_missing, read_facts
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.history.export import csv_of
from flagstaff.history.log import Event

_USAGE = ("last_evaluated_at", "served_in_bulk_at", "served_to_browsers_at")
# In the order of the columns.
_COLUMNS = (
    *("key", "description", "state", "enabled", "rollout_percent", RULES, OWNER, TAGS, REVIEW_ON),
    *_USAGE,
    *("changed_at", "changed_by"),
)


def flags_as_csv(flags: QuerySet[Any]) -> StreamingHttpResponse:
    """Returns the flags as CSV, which is sent while they are read.

    A few queries for thousands of flags.
    """
    columns = [name for name in _COLUMNS if name not in _USAGE or has_usage()]
    lines = csv_of(columns, _records(flags))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="flags.csv"'
    return response


def _records(flags: QuerySet[Any]) -> Iterator[dict[str, object]]:
    for pks in batches(flags.values_list("pk", flat=True)):
        by_pk = all_rows(flags.model).in_bulk(pks)
        rows = [by_pk[pk] for pk in pks if pk in by_pk]
        facts: Mapping[str, PageFacts] = value_or_default(
            "the export of flags has no evaluations and changes",
            partial(read_facts, rows, None),
            {},
        )
        count_missing(rows)
        for row in rows:
            yield _record(row, facts.get(str(row.pk), PageFacts()))


def _record(flag: Any, facts: PageFacts) -> dict[str, object]:
    event = facts.event
    return {
        "key": flag.key,
        "description": flag.description,
        # In the words of `flags list --state`.
        "state": state_of(FlagState.of(flag), getattr(flag, ALLOWED_COUNT)).value,
        "enabled": str(flag.enabled).lower(),
        "rollout_percent": flag.rollout_percent,
        RULES: count_rules(flag),
        OWNER: flag.owner,
        TAGS: joined_tags(flag.tags),
        REVIEW_ON: flag.review_on,
        **{name: _time(getattr(facts.usage, name)) for name in _USAGE},
        "changed_at": _time(event.at if event else flag.changed_at),
        "changed_by": _changed_by(event, facts.names or {}),
    }


def _changed_by(event: Event | None, names: Mapping[str, str]) -> str:
    """The name of the actor, or else the user of the database."""
    if event is None:
        return ""
    return event.session_user if event.actor is None else names.get(event.actor, event.actor)


def _time(time: datetime | None) -> str:
    return "" if time is None else aware(time).isoformat()
