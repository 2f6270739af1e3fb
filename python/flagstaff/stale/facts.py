"""What is known about flags: reads their rows, history and usage, with few queries for all."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from threading import Event
from typing import Any, NamedTuple

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.dateparse import parse_date

from flagstaff._declared import DECLARED, Flag, declared_flag
from flagstaff._engine import forced_off
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, all_rows
from flagstaff._text import say
from flagstaff._text.times import Column, aware, is_of_this_hour, local_time
from flagstaff._workers.usage import NOT_USED, KeyUsage, UsagePeriod, key_usage, usage_period
from flagstaff.conf import MAX_STALE_DAYS, conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.extensions import PLANNED_FLAGS, Job, JobReport
from flagstaff.history.log import require_history, require_triggers
from flagstaff.models import Change, StaleCount
from flagstaff.stale.signals import (
    Assessment,
    Configuration,
    Constant,
    Facts,
    ReviewChange,
    assess,
    constant_result,
)
from flagstaff.validators import usable_tags

# The rows.

# The annotation's name must not clash with a field of the project's model.
_ALLOWED = "flagstaff_allowed"


@dataclass(frozen=True)
class AssessedFlag:
    """A flag with what decides its result."""

    pk: str
    key: str
    #: The row.
    fields: Any
    configuration: Configuration
    allowed: int

    @property
    def is_forced_off(self) -> bool:
        """Whether this process evaluates a flag as off that is on for all users."""
        return self.result is True and self.key in forced_off.keys

    @property
    def result(self) -> bool | None:
        """The result of all users; None if it differs."""
        return constant_result(self.configuration, has_allowed_users=self.allowed != 0)


def read_flags(condition: Q) -> list[AssessedFlag]:
    """Returns the flags that match, by key. One query."""
    rows = all_rows(conf.flag_model).filter(condition).order_by("key")
    counted = rows.annotate(**{_ALLOWED: Count("allowed_users")})
    return [_flag(row, getattr(row, _ALLOWED)) for row in counted]


def _flag(row: Any, allowed: int) -> AssessedFlag:
    return AssessedFlag(
        pk=str(row.pk),
        key=row.key,
        fields=row,
        configuration=Configuration(
            row.enabled, row.rollout_percent, None if row.rules == [] else row.rules
        ),
        allowed=allowed,
    )


# The history.


@dataclass(frozen=True)
class Past:
    """What the history says about a flag."""

    #: None if the result differs between users, a plan changes it, or the history lacks a change.
    constant: Constant | None = None
    #: When an unused flag was created or got its key, if that was since a time.
    key_since: datetime | None = None
    #: None if there is no review date in the future, or no entry about it.
    review_change: ReviewChange | None = None


class _Entry(NamedTuple):
    """A line of `stale_entries_v1` without its flag and its part."""

    id: int
    at: datetime
    is_creation: bool
    old_enabled: str | None
    old_percent: str | None
    old_rules: str | None
    new_enabled: str | None
    new_percent: str | None
    new_rules: str | None
    old_review: str | None
    new_review: str | None

    @property
    def before(self) -> Configuration | None:
        """The configuration before; None if the entry lacks a column, or created the flag."""
        return _recorded(self.old_enabled, self.old_percent, self.old_rules)

    @property
    def after(self) -> Configuration | None:
        """The configuration afterwards; None if the entry lacks a column."""
        return _recorded(self.new_enabled, self.new_percent, self.new_rules)


def history_problem() -> str:
    """Returns why the history does not have all changes of flags, or an empty text."""
    try:
        require_history()
        require_triggers(Kind.FLAG)
    except NoHistoryError as error:
        return error.message
    return ""


def read_past(
    flags: Sequence[AssessedFlag], unused: Collection[str], *, since: datetime, today: date
) -> Mapping[str, Past]:
    """Returns what the history says about flags, by their primary keys.

    `unused` are the primary keys of flags that were not evaluated since a time. Makes up to two
    queries, and one of each app that changes flags.
    """
    wanted = [flag for flag in flags if flag.result is not None or flag.pk in unused]
    if not wanted:
        return {}
    entries: dict[str, dict[str, _Entry]] = defaultdict(dict)
    for pk, part, *values in _query(wanted, unused, since, today):
        entries[pk][part] = _Entry(*values)
    constant = [flag for flag in wanted if flag.result is not None]
    # Looked up only if a flag has no entry.
    needs_bound = any("row" not in entries[flag.pk] for flag in constant)
    bound = _history_since() if needs_bound else None
    periods = {flag.pk: _period(flag, entries[flag.pk], bound) for flag in constant}
    planned = {pk for read in PLANNED_FLAGS for pk in read()} if any(periods.values()) else set()
    return {
        flag.pk: Past(
            None if flag.pk in planned else periods.get(flag.pk),
            aware(entries[flag.pk]["key"].at) if "key" in entries[flag.pk] else None,
            _review_change(flag, entries[flag.pk].get("review")),
        )
        for flag in wanted
    }


def _query(
    flags: Sequence[AssessedFlag], unused: Collection[str], since: datetime, today: date
) -> list[tuple[Any, ...]]:
    reviews = [flag.fields.review_on for flag in flags]
    parameters: dict[str, Any] = {
        "pks": [flag.pk for flag in flags],
        "with_row": [flag.result is not None for flag in flags],
        # They do not matter while the flag is on or off for all users anyway.
        "with_users": [flag.result is False and flag.configuration.enabled for flag in flags],
        "with_key": [flag.pk in unused for flag in flags],
        "with_review": [day is not None and day > today for day in reviews],
        "table": db.table(conf.flag_model),
        "since": since,
    }
    return db.query("stale_entries_v1", parameters)


def _period(
    flag: AssessedFlag, entries: Mapping[str, _Entry], bound: datetime | None
) -> Constant | None:
    """Returns since when a flag has its constant result: since the newest change that matters.

    It may have had the same result before that change. A flag without such a change has not changed
    since the history began; `bound` is None without a history.
    """
    row, users, result = entries.get("row"), entries.get("users"), bool(flag.result)
    if row is None and users is None:
        since = bound and max(bound, aware(flag.fields.created_at))
        return None if since is None else Constant(result, since, is_exact=False)
    if row is not None and not _is_continued(row.after, flag.configuration):
        return None
    if row is None or (users is not None and users.id > row.id):
        # The last allowed user was removed.
        return users and Constant(result, aware(users.at), is_exact=True)
    before = row.before
    is_exact = row.is_creation or (
        before is not None and constant_result(before, has_allowed_users=False) is not result
    )
    return Constant(result, aware(row.at), is_exact=is_exact)


def _is_continued(after: Configuration | None, present: Configuration) -> bool:
    """Whether the history lacks no change: those of a disabled flag are left out."""
    stayed_disabled = after is not None and not after.enabled and not present.enabled
    return after == present or stayed_disabled


def _review_change(flag: AssessedFlag, entry: _Entry | None) -> ReviewChange | None:
    if entry is None or entry.new_review != flag.fields.review_on.isoformat():
        return None
    return ReviewChange(aware(entry.at), parse_date(entry.old_review or ""), entry.is_creation)


def _history_since() -> datetime | None:
    """Returns the time of the oldest entry about a flag; None without an entry. One query."""
    of_flags = Change.objects.filter(relation=Kind.FLAG.row_relation).order_by("id")
    first = of_flags.values_list("at", flat=True).first()
    return first and aware(first)


def _recorded(enabled: str | None, percent: str | None, rules: str | None) -> Configuration | None:
    """Returns a configuration of an entry; None if it lacks a column, or has no row."""
    if enabled is None or percent is None or not percent.isdigit():
        return None
    # Entries that are older than the column have no rules either.
    read = None if rules is None or rules == "[]" else json.loads(rules)
    return Configuration(enabled == "true", int(percent), read)


# The usage.

#: Between the reports of two workers. A pause between two deployments, or a night, is shorter.
MAX_GAP = timedelta(days=1)


def problem_of_coverage(
    coverage: UsagePeriod, *, since: datetime, now: datetime, is_turned_off: bool = False
) -> str:
    """Returns the message why evaluations since a time may be missing, or an empty text."""
    if is_turned_off:
        return say("the setting USAGE_INTERVAL is 0, so usage is not collected")
    if coverage.since is None or coverage.until is None:
        return say("no worker has reported its usage")
    if coverage.since > since:
        return say("usage is known only since {date}", date=_date(coverage.since))
    if coverage.longest_gap > MAX_GAP:
        days = coverage.longest_gap.days
        return (
            say("for 1 day, no worker reported its usage")
            if days == 1
            else say("for {count} days, no worker reported its usage", count=days)
        )
    if now - coverage.until > MAX_GAP:
        return say("no worker has reported its usage since {date}", date=_date(coverage.until))
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
        return Evaluations(problem=say("usage is not available; {reason}", reason=reason))
    coverage = usage_period(since)
    last = key_usage(keys, now)
    is_turned_off = conf.usage_interval == 0
    problem = problem_of_coverage(coverage, since=since, now=now, is_turned_off=is_turned_off)
    return Evaluations(last, None if problem else coverage.since, problem)


# All of it.

ALL_FLAGS = Q()


def stale_flags(days: int | None = None) -> list[Assessment]:
    """Returns the flags that are stale, by key, without those that are silent until their review.

    Each has `facts`, such as its `key`, `owner`, `tags` and `kind`; `findings`, the signals that
    hold, each with `signal`, `since`, `days`, `result` and `is_exact`; and `unknown`, the signals
    that could not be decided, each with `signal` and `why`.

    `days` replaces STALE_DAYS, and is a whole number from 1 to 3,650. Makes about eight queries,
    however many flags there are. Raises ValueError for another number.
    """
    return [flag for flag in assess_flags(days) if flag.is_stale]


def assess_flags(days: int | None = None, condition: Q = ALL_FLAGS) -> list[Assessment]:
    """Returns the signals of all flags, or of those that match.

    Raises ValueError for days that are no whole number from 1 to 3,650.
    """
    days = conf.stale_days if days is None else days
    if type(days) is not int or not 1 <= days <= MAX_STALE_DAYS:
        raise ValueError(f"days must be a whole number from 1 to {MAX_STALE_DAYS:,}, not {days!r}")
    now = aware(timezone.now())
    today = local_time(now).date()
    facts_by_key = facts_of_flags(now, days, condition)
    return [assess(facts, now=now, today=today, days=days) for facts in facts_by_key]


def facts_of_flags(now: datetime, days: int, condition: Q) -> Iterator[Facts]:
    """Yields what is known about the flags that match, by key."""
    flags, since = read_flags(condition), now - timedelta(days=days)
    evaluations = evaluations_of([flag.key for flag in flags], since=since, now=now)
    last = evaluations.last
    # If evaluations may be missing, it is not known which flags are unused.
    counted = () if evaluations.problem else flags
    unused = {flag.pk for flag in counted if _is_unused(last.get(flag.key, NOT_USED), since)}
    problem, today = history_problem(), local_time(now).date()
    past = {} if problem else read_past(flags, unused, since=since, today=today)
    declares_flags = any(isinstance(key, Flag) for key in DECLARED.values())
    for flag in flags:
        fields, flag_past = flag.fields, past.get(flag.pk, Past())
        begin = [flag_past.key_since, aware(fields.created_at)]
        yield Facts(
            pk=flag.pk,
            key=flag.key,
            kind=fields.kind,
            owner=fields.owner,
            tags=tuple(usable_tags(fields.tags)),
            review_on=fields.review_on,
            constant=None if flag.is_forced_off else flag_past.constant,
            constant_problem=_constant_problem(flag, problem),
            last_use=last.get(flag.key, NOT_USED),
            counted_since=evaluations.counted_since,
            usage_problem=evaluations.problem,
            key_since=max((time for time in begin if time), default=None),
            review_change=flag_past.review_change,
            is_undeclared=declares_flags and declared_flag(flag.key) is None,
        )


def _is_unused(last: KeyUsage, since: datetime) -> bool:
    return last.in_use_at is None or last.in_use_at <= since


def _constant_problem(flag: AssessedFlag, history_problem: str) -> str:
    if flag.result is None:
        return ""
    if flag.is_forced_off:
        return say(
            "the flag is forced off in this process by {variable}", variable=forced_off.VARIABLE
        )
    return history_problem


# The job of `run-jobs` that counts the stale flags, for the overview in the admin.


def _run(_stop: Event) -> Sequence[JobReport]:
    """Counts once an hour, and reports nothing. Raises database errors."""
    stored = db.rows(StaleCount)
    if not is_of_this_hour(stored.values_list("at", flat=True).first()):
        values = {"count": len(stale_flags()), "at": timezone.now()}
        stored.update_or_create(pk=1, defaults=values)
    return ()


STALE = Job(name="stale_flags", run=_run, columns=(Column("error"),), is_quiet=True)
