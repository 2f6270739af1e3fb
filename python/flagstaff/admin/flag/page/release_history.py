"""The history of a flag in a period: its changes, and the course of its rollout."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections
from django.http import HttpRequest

from flagstaff._tables.model_fields import column_of
from flagstaff._tables.names import fill, own_names, sql
from flagstaff.admin.entry_rows import actor_columns, entry_of, reads_actors
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.page.release_period import Period
from flagstaff.conf import conf
from flagstaff.history import Event
from flagstaff.history.grouping import Entry
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_in
from flagstaff.history.user_names import readable_names_of_actors
from flagstaff.models import Change

#: The newest entries whose changes are shown.
MAX_ENTRIES = 100
_ALL = 100
# The slots of time of which the last entry is read: about the pixels of a wide page.
_SLOTS = 400


@dataclass(frozen=True)
class Step:
    """The rollout from a time on."""

    at: datetime
    #: None if there is no flag, or if the history does not say.
    percent: int | None
    #: Whether the history has all changes that were made before the next step.
    is_known: bool = True


@dataclass(frozen=True)
class State:
    """What one entry says about the rollout; a flag that is off has 0."""

    at: datetime
    before: int | None
    after: int | None
    is_creation: bool = False


@dataclass(frozen=True)
class ReleaseHistory:
    """The changes of a flag in a period."""

    steps: tuple[Step, ...]
    #: The newest ones, newest first.
    events: tuple[Event, ...]
    #: The number of older ones in the period.
    more: int
    #: Usernames by the text of the actor.
    names: dict[str, str]

    @property
    def count(self) -> int:
        """The number of changes in the period."""
        return len(self.events) + self.more

    def percent_at(self, at: datetime) -> int | None:
        """Returns the rollout after the changes until a time."""
        found = bisect_right(self.steps, at, key=lambda step: step.at)
        return self.steps[max(found - 1, 0)].percent


def release_history(request: HttpRequest, flag: Any, period: Period) -> ReleaseHistory | None:
    """Returns the history of a flag; None where there is none, or where it cannot be read.

    Makes one query, beside the one that finds the tables for the page; two if the primary keys of
    users are no integers, or are in another database.
    """
    if not can_read(request, "change_table"):
        return None
    connection = connections[conf.database]
    places = own_names(connection) | actor_columns(connection)
    parameters: Any = {
        "pk": str(flag.pk),
        "table": connection.ops.quote_name(conf.flag_model._meta.db_table),
        "since": period.since,
        "until": period.present,
        "slot": (period.present - period.since) / _SLOTS,
        "limit": MAX_ENTRIES + 1,
        "enabled": column_of(conf.flag_model, "enabled"),
        "rollout": column_of(conf.flag_model, "rollout_percent"),
    }
    with connection.cursor() as cursor:
        cursor.execute(fill(sql("flag_changes_v1"), places), parameters)
        rows = cursor.fetchall()
    entries: list[Entry] = []
    states: list[State] = []
    names: dict[str, str] = {}
    for _count, is_new, was_on, was_percent, is_on, percent, name, *values in rows:
        entry = entry_of(str(flag.pk), values)
        if is_new:
            entries.append(entry)
        if name:
            names[entry["actor"]] = name
        if entry["relation"] == Change.Relation.FLAG:
            is_creation = entry["action"] == Change.Action.INSERT
            before, after = rollout_of(was_on, was_percent), rollout_of(is_on, percent)
            states.append(State(entry["at"], before, after, is_creation))
    events = events_in(Kind.FLAG, entries)
    if len(entries) > MAX_ENTRIES and len(events) > 1:
        # The oldest one may have entries that were not read.
        events = events[:-1]
    return ReleaseHistory(
        steps=steps_of(states[::-1], period, now=flag.rollout_percent if flag.enabled else 0),
        events=tuple(events),
        # In one transaction, several actors can take turns.
        more=max(rows[0][0] - len(events), 0) if rows else 0,
        names=names if reads_actors() else readable_names_of_actors(events),
    )


def rollout_of(enabled: str | None, percent: str | None) -> int | None:
    """Returns the rollout of a row of the history; None if it does not say."""
    if enabled == "false":
        return 0
    is_number = enabled == "true" and percent and percent.isascii() and percent.isdecimal()
    return min(int(percent), _ALL) if percent and is_number else None


def steps_of(states: Sequence[State], period: Period, *, now: int) -> tuple[Step, ...]:
    """Returns the rollout in a period. `states` are oldest first, and `now` is the stored rollout.

    The first state may be from before the period. Without it, the history is unknown until the next
    one, or the flag was created then.
    """
    if not states:
        return (Step(period.since, now, is_known=False),)
    steps: list[Step] = []
    first = states[0]
    if first.at >= period.since:
        created = None if first.is_creation else first.before
        steps.append(Step(period.since, created, is_known=first.is_creation))
    latest = period.since
    for state in states:
        # Clocks differ, and the order is that of the entries.
        latest = min(max(latest, state.at), period.present)
        if not steps or (steps[-1].percent, steps[-1].is_known) != (state.after, True):
            steps.append(Step(latest, state.after))
    return tuple(steps)
