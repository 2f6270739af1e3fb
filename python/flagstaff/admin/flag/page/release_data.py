"""What the picture of a release shows: evaluations, changes, and the course of the rollout."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.http import HttpRequest

from flagstaff._engine.usage import HourlyUsage, Usage, read_usage
from flagstaff._tables.names import own_names, query
from flagstaff._words.times import aware
from flagstaff.admin.entry_rows import actor_columns, entry_of, unnamed
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.page.release_period import Period, start_of_hour
from flagstaff.conf import conf
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import readable_names_of_actors

# The newest entries whose changes are shown.
_MAX_ENTRIES = 100
_ALL = 100
# The slots of time of which the last entry is read: about the pixels of a wide page.
_SLOTS = 400


class Count(NamedTuple):
    """How often all workers evaluated the flag in some time."""

    true_count: int = 0
    false_count: int = 0

    @property
    def total(self) -> int:
        return self.true_count + self.false_count


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a flag, as the workers have reported them."""

    #: That of at least the last STALE_DAYS days.
    usage: Usage
    #: One for each hour or day of the period, oldest first.
    counts: tuple[Count, ...]
    #: That of the whole period.
    sum: Count
    last_24_hours: Count
    last_evaluated_at: datetime | None
    #: As in `KeyUsage`, if that was in the time of `usage`.
    served_in_bulk_at: datetime | None
    served_to_browsers_at: datetime | None
    #: Whether usage has been counted for less than STALE_DAYS days.
    is_since_begin: bool


class Step(NamedTuple):
    """The rollout from a time on."""

    at: datetime
    #: None if there is no flag, or if the history does not say.
    percent: int | None
    #: Whether the history has all changes that were made before the next step.
    is_known: bool = True


class State(NamedTuple):
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
    events: Sequence[Event]
    #: The number of older ones in the period.
    more: int
    #: Usernames by the text of the actor.
    names: dict[str, str]

    def percent_at(self, at: datetime) -> int | None:
        """Returns the rollout after the changes until a time."""
        found = bisect_right(self.steps, at, key=lambda step: step.at)
        return self.steps[max(found - 1, 0)].percent


def evaluations_of(request: HttpRequest, key: str, period: Period) -> Evaluations | None:
    """Returns the evaluations of a flag; None where usage is not counted or cannot be read.

    Makes two queries, beside the one that finds the tables for the page.
    """
    if not can_read(request, "usage_table"):
        return None
    last_day = start_of_hour(period.present) - timedelta(hours=23)
    stale = period.present - timedelta(days=conf.stale_days)
    first = min(start_of_hour(period.since), last_day, stale)
    usage = read_usage([key], first)
    hours = [hour for hour in usage.hours if hour.result in ("true", "false")]
    return Evaluations(
        usage,
        counts=counts_of(hours, period),
        sum=_sum(hours, period.since),
        last_24_hours=_sum(hours, last_day),
        last_evaluated_at=_last(hours),
        served_in_bulk_at=_last(one for one in usage.hours if one.result == "bulk"),
        served_to_browsers_at=_last(one for one in usage.hours if one.result == "browsers"),
        is_since_begin=usage.since is None or aware(usage.since) > stale,
    )


def _last(hours: Iterable[HourlyUsage]) -> datetime | None:
    return max((one.last_at for one in hours), default=None)


def counts_of(hours: Iterable[HourlyUsage], period: Period) -> tuple[Count, ...]:
    """Returns the evaluations of each hour or day of the period.

    An hour belongs to the day in which it starts. Hours that a worker counted by a clock that is
    ahead belong to the present.
    """
    in_each: list[list[HourlyUsage]] = [[] for _ in period.starts]
    for one in hours:
        if aware(one.hour) >= period.since:
            in_each[period.index(aware(one.hour))].append(one)
    return tuple(_sum(found, period.since) for found in in_each)


def _sum(hours: Iterable[HourlyUsage], since: datetime) -> Count:
    found = [one for one in hours if aware(one.hour) >= since]
    return Count(
        *(sum(one.count for one in found if one.result == name) for name in ("true", "false"))
    )


def release_history(request: HttpRequest, flag: Any, period: Period) -> ReleaseHistory | None:
    """Returns the history of a flag; None where there is none, or where it cannot be read.

    Makes one query, beside the one that finds the tables for the page; two if the primary keys of
    users are no integers, or are in another database.
    """
    if not can_read(request, "change_table"):
        return None
    rows = _read_changes(flag, period)
    entries: list[Change] = []
    states: list[State] = []
    names: dict[str, str] = {}
    for _count, is_new, was_on, was_percent, is_on, percent, name, *values in rows:
        entry = entry_of(str(flag.pk), values)
        if is_new:
            entries.append(entry)
        if name and entry.actor:
            names[entry.actor] = name
        if entry.relation == Change.Relation.FLAG:
            is_creation = entry.action == Change.Action.INSERT
            before, after = rollout_of(was_on, was_percent), rollout_of(is_on, percent)
            states.append(State(entry.at, before, after, is_creation))
    newest_first = [*events(entries)]
    if len(entries) > _MAX_ENTRIES and len(newest_first) > 1:
        # The oldest one may have entries that were not read.
        newest_first.pop()
    return ReleaseHistory(
        steps=steps_of(states[::-1], period, now=flag.rollout_percent if flag.enabled else 0),
        events=newest_first,
        # In one transaction, several actors can take turns.
        more=max(rows[0][0] - len(newest_first), 0) if rows else 0,
        names=names | readable_names_of_actors(unnamed(newest_first)),
    )


def _read_changes(flag: Any, period: Period) -> Sequence[tuple[Any, ...]]:
    connection = connections[conf.database]
    parameters: Any = {
        "pk": str(flag.pk),
        "table": connection.ops.quote_name(conf.flag_model._meta.db_table),
        "since": period.since,
        "until": period.present,
        "slot": (period.present - period.since) / _SLOTS,
        "limit": _MAX_ENTRIES + 1,
    }
    places = own_names(connection) | actor_columns(connection)
    return query(connection, "flag_changes_v1", places, parameters)


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
        if not steps or steps[-1][1:] != (state.after, True):
            steps.append(Step(latest, state.after))
    return tuple(steps)
