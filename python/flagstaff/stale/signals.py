"""The signals that a flag is stale, from what is known about it, and in words. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from django.utils.formats import date_format

from flagstaff._text import Sentence, local_list, say
from flagstaff._text.times import local_days, local_time
from flagstaff._workers.usage import NOT_USED, KeyUsage

_ALL = 100


@dataclass(frozen=True)
class Configuration:
    """The columns of a flag that decide its result, without the allowed users."""

    enabled: bool
    rollout_percent: int
    #: A list of rules; None without rules. Anything else cannot be read.
    rules: object = None


@dataclass(frozen=True)
class Constant:
    """A period in which a flag has given every user the same result, up to now."""

    result: bool
    since: datetime
    #: False if the period may have begun earlier.
    is_exact: bool


def constant_result(configuration: Configuration, *, has_allowed_users: bool) -> bool | None:
    """Returns the result that every user gets, or None if it can differ between users.

    Rules that cannot be read can return anything. No condition is looked at: a rule that can grant
    or refuse the flag makes the result differ, even if it matches no user.
    """
    if not configuration.enabled:
        return False
    shares = _shares_of_rules(configuration.rules)
    shares.add(min(max(configuration.rollout_percent, 0), _ALL))
    if has_allowed_users:
        shares.add(_ALL)
    if shares == {_ALL}:
        return True
    return False if shares == {0} else None


def _shares_of_rules(rules: object) -> set[int | None]:
    """The percentages of the rules, with None for one that cannot be read."""
    if rules is None:
        return set()
    if not isinstance(rules, list):
        return {None}
    return {_share(rule) for rule in rules}


def _share(rule: object) -> int | None:
    # The engine reads a rule without a percentage as 100 %.
    percent = rule.get("rollout_percent", _ALL) if isinstance(rule, dict) else None
    return percent if type(percent) is int else None


#: Flags of these kinds are meant to stay.
_PERMANENT = ("ops", "permission")


class Signal(Enum):
    """A reason why a flag is stale. The value is the word in JSON."""

    CONSTANT = "constant"
    NOT_EVALUATED = "not-evaluated"
    REVIEW = "review"


#: The names of the signals for a person.
SIGNAL_LABELS = {
    Signal.CONSTANT: say("constant").lazy,
    Signal.NOT_EVALUATED: say("not evaluated").lazy,
    Signal.REVIEW: say("past review date").lazy,
}


@dataclass(frozen=True)
class ReviewChange:
    """The entry of the history that gave a flag its present review date."""

    at: datetime
    #: The review date before; None without one.
    before: date | None = None
    is_creation: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known about a flag."""

    #: The text of the primary key.
    pk: str
    key: str
    kind: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    review_on: date | None = None
    constant: Constant | None = None
    #: Why it is not known whether the result is constant; empty if it is known.
    constant_problem: str = ""
    last_use: KeyUsage = NOT_USED
    #: From when on all evaluations are counted; None if `usage_problem` says why they are not.
    counted_since: datetime | None = None
    usage_problem: str = ""
    #: Since when a flag has had this key; None if it had it before the evaluations were counted.
    key_since: datetime | None = None
    #: None if it is not needed, or the history lacks it.
    review_change: ReviewChange | None = None
    #: Whether code declares other flags, and not this one.
    is_undeclared: bool = False


@dataclass(frozen=True)
class Finding:
    """A signal that holds, and its evidence."""

    signal: Signal
    since: datetime | date
    #: Whole days from `since` until now.
    days: int
    #: False if the period may have begun earlier.
    is_exact: bool = True
    #: The constant result; None for other signals.
    result: bool | None = None


@dataclass(frozen=True)
class Unknown:
    """A signal of which it is not known whether it holds."""

    signal: Signal
    why: str


@dataclass(frozen=True)
class Assessment:
    """A flag with the signals that hold."""

    facts: Facts
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    #: Whether a person has seen the signals, and has set a review date in the future.
    is_silent: bool = False

    @property
    def is_stale(self) -> bool:
        """Whether a signal holds and the flag is not silent."""
        return bool(self.findings) and not self.is_silent


def assess(facts: Facts, *, now: datetime, today: date, days: int) -> Assessment:
    """Returns the signals that hold for a flag. `days` is the age from which it is stale."""
    signals: list[Finding | Unknown | None] = []
    if facts.kind not in _PERMANENT:
        signals.append(_constant(facts, now, days))
    if facts.kind not in _PERMANENT or facts.is_undeclared:
        signals.append(not_evaluated(facts, now, days))
    signals.append(_review(facts, today))
    findings = tuple(signal for signal in signals if isinstance(signal, Finding))
    unknown = tuple(signal for signal in signals if isinstance(signal, Unknown))
    is_silent = _is_silent(facts, findings, today, timedelta(days=days))
    return Assessment(facts, findings, unknown, is_silent)


def _is_silent(facts: Facts, findings: tuple[Finding, ...], today: date, period: timedelta) -> bool:
    """Whether the review date is in the future, and was set after the flag had become stale.

    A date from before says nothing about the signals. One that was set at the creation never does.
    """
    change = facts.review_change
    if facts.review_on is None or facts.review_on <= today or change is None or change.is_creation:
        return False
    was_due = change.before is not None and change.before < local_time(change.at).date()
    return was_due or any(_had_begun(finding, change.at - period) for finding in findings)


def _had_begun(finding: Finding, at: datetime) -> bool:
    """Whether the period of a signal had begun at a time. One without a known begin had."""
    is_later = isinstance(finding.since, datetime) and finding.since > at
    return not (finding.is_exact and is_later)


def _constant(facts: Facts, now: datetime, days: int) -> Finding | Unknown | None:
    if facts.constant_problem:
        return Unknown(Signal.CONSTANT, facts.constant_problem)
    if facts.constant is None:
        return None
    since = facts.constant.since
    age = (now - since).days
    if age < days:
        return None
    return Finding(
        Signal.CONSTANT, since, age, facts.constant.is_exact, result=facts.constant.result
    )


def not_evaluated(facts: Facts, now: datetime, days: int) -> Finding | Unknown | None:
    """Returns the signal that a flag is not evaluated, of any kind of flag; None if it is."""
    first = now - timedelta(days=days)
    last, begin, bulk = facts.last_use.in_use_at, facts.key_since, facts.last_use.served_in_bulk_at
    if (last is not None and last > first) or (begin is not None and begin > first):
        return None
    if bulk is not None and bulk > first:
        date = local_time(bulk).date().isoformat()
        return Unknown(
            Signal.NOT_EVALUATED,
            say("served in bulk on {date}; an evaluation of one key would be counted", date=date),
        )
    if facts.counted_since is None:
        return Unknown(Signal.NOT_EVALUATED, facts.usage_problem)
    if (latest := _latest(last, bulk)) is not None:
        # The evaluations of a deleted flag do not count for a new one with its key.
        since = latest if begin is None else max(latest, begin)
        return Finding(Signal.NOT_EVALUATED, since, (now - since).days, since == last)
    since = facts.counted_since if begin is None else max(facts.counted_since, begin)
    is_exact = begin is not None and begin >= facts.counted_since
    return Finding(Signal.NOT_EVALUATED, since, (now - since).days, is_exact)


def _latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _review(facts: Facts, today: date) -> Finding | None:
    date_of_review = facts.review_on
    if date_of_review is None or date_of_review >= today:
        return None
    return Finding(Signal.REVIEW, date_of_review, (today - date_of_review).days)


def finding_text(finding: Finding, show: Callable[[date], str] = date.isoformat) -> str:
    """Returns the translated evidence of a signal. `show` returns the text of a date."""
    days, date_text = local_days(finding.days), show(date_of(finding))
    return say(_template(finding), days=days, date=date_text).local


def evidence_of(flag: Assessment) -> list[str]:
    """Returns the translated evidence of the signals, each beginning with a capital letter."""
    return [_capitalized(finding_text(finding, date_format)) for finding in flag.findings]


def unknown_lines(flags: Iterable[Assessment]) -> list[str]:
    """Returns `unknown_texts` as sentences."""
    return [f"{_capitalized(text)}." for text in unknown_texts(flags)]


def unknown_texts(flags: Iterable[Assessment]) -> Iterator[str]:
    """Yields a translated sentence for each reason why signals are not known, with the flags."""
    keys: dict[tuple[Signal, str], list[str]] = defaultdict(list)
    for flag in flags:
        for unknown in flag.unknown:
            keys[unknown.signal, unknown.why].append(flag.facts.key)
    for (signal, why), flag_keys in keys.items():
        text = _unknown(signal)
        yield say(text, count=len(flag_keys), why=why, flags=local_list(flag_keys)).local


def _unknown(signal: Signal) -> Sentence:
    if signal is Signal.NOT_EVALUATED:
        return say(
            "it is not known whether {flags} was evaluated: {why}",
            "it is not known whether {flags} were evaluated: {why}",
        )
    return say(
        "it is not known how long {flags} has had the same result for all users: {why}",
        "it is not known how long {flags} have had the same result for all users: {why}",
    )


def date_of(finding: Finding) -> date:
    """Returns the date since when a signal holds, in the current time zone."""
    since = finding.since
    return local_time(since).date() if isinstance(since, datetime) else since


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _template(finding: Finding) -> Sentence:
    if finding.signal is Signal.REVIEW:
        return say("the review was due on {date}")
    if finding.signal is Signal.NOT_EVALUATED:
        exact = say("not evaluated for {days}, since {date}")
        bound = say("not evaluated for {days} or longer, since {date} or before")
    elif finding.result:
        exact = say("on for all users for {days}, since {date}")
        bound = say("on for all users for {days} or longer, since {date} or before")
    else:
        exact = say("off for all users for {days}, since {date}")
        bound = say("off for all users for {days} or longer, since {date} or before")
    return exact if finding.is_exact else bound
