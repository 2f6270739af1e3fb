"""The evidence of a signal in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime

from django.utils.formats import date_format

from flagstaff._text import Sentence, local_list, say
from flagstaff._text.times import local_days, local_time
from flagstaff.stale.signals import Assessment, Finding, Signal

#: The names of the signals for a person.
SIGNAL_LABELS = {
    Signal.CONSTANT: say("constant").lazy,
    Signal.NOT_EVALUATED: say("not evaluated").lazy,
    Signal.REVIEW: say("past review date").lazy,
}


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
