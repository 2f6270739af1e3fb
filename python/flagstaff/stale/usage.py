"""Reads when keys were last evaluated, and whether all evaluations were counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flagstaff._engine.usage import KeyUsage, UsagePeriod, key_usage, usage_period
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.database import db
from flagstaff._words.text import Text
from flagstaff._words.times import local_time
from flagstaff.conf import conf

#: Between the reports of two workers. A pause between two deployments, or a night, is shorter.
MAX_GAP = timedelta(days=1)


def problem_of_coverage(
    coverage: UsagePeriod, *, since: datetime, now: datetime, is_turned_off: bool = False
) -> str:
    """Returns the message why evaluations since a time may be missing, or an empty text."""
    if is_turned_off:
        return Text("the setting USAGE_INTERVAL is 0, so usage is not collected")
    if coverage.since is None or coverage.until is None:
        return Text("no worker has reported its usage")
    if coverage.since > since:
        return Text("usage is known only since {date}", date=_date(coverage.since))
    if coverage.longest_gap > MAX_GAP:
        days = coverage.longest_gap.days
        return (
            Text("for 1 day, no worker reported its usage")
            if days == 1
            else Text("for {count} days, no worker reported its usage", count=days)
        )
    if now - coverage.until > MAX_GAP:
        return Text("no worker has reported its usage since {date}", date=_date(coverage.until))
    return ""


def _date(at: datetime) -> str:
    return local_time(at).date().isoformat()


@dataclass(frozen=True)
class Evaluations:
    """What the usage says about some keys."""

    #: By key; keys that were never evaluated or served are absent.
    last: Mapping[str, KeyUsage] = field(default_factory=dict)
    #: Since when evaluations are counted; None if `problem` says why some may be missing.
    counted_since: datetime | None = None
    problem: str = ""


def evaluations_of(keys: Collection[str], *, since: datetime, now: datetime) -> Evaluations:
    """Returns the last evaluations of keys. `since` is the time from which all must be counted."""
    if reason := why_unavailable(db.connection, db.tables["usage_table"]):
        return Evaluations(problem=Text("usage is not available; {reason}", reason=reason))
    coverage = usage_period(since)
    last = key_usage(keys, now)
    is_turned_off = conf.usage_interval == 0
    problem = problem_of_coverage(coverage, since=since, now=now, is_turned_off=is_turned_off)
    return Evaluations(last, None if problem else coverage.since, problem)
