"""The evidence of a signal in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._words.text import local_list, localized
from flagstaff._words.times import local_days, local_time
from flagstaff.stale.signals import Assessment, Finding, Signal

#: The names of the signals for a person.
SIGNAL_LABELS = {
    Signal.CONSTANT: gettext_lazy("constant"),
    Signal.NOT_EVALUATED: gettext_lazy("not evaluated"),
    Signal.REVIEW: gettext_lazy("past review date"),
}


def finding_text(finding: Finding, show: Callable[[date], str] = date.isoformat) -> str:
    """Returns the translated evidence of a signal. `show` returns the text of a date."""
    texts = {
        "days": local_days(finding.days),
        "date": show(date_of(finding)),
    }
    return _template(finding) % texts


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
        text = _unknown(signal, len(flag_keys))
        yield text % {"why": localized(why), "flags": local_list(flag_keys)}


def _unknown(signal: Signal, number: int) -> str:
    if signal is Signal.NOT_EVALUATED:
        return ngettext(
            "it is not known whether %(flags)s was evaluated: %(why)s",
            "it is not known whether %(flags)s were evaluated: %(why)s",
            number,
        )
    return ngettext(
        "it is not known how long %(flags)s has had the same result for all users: %(why)s",
        "it is not known how long %(flags)s have had the same result for all users: %(why)s",
        number,
    )


def date_of(finding: Finding) -> date:
    """Returns the date since when a signal holds, in the current time zone."""
    since = finding.since
    return local_time(since).date() if isinstance(since, datetime) else since


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _template(finding: Finding) -> str:
    if finding.signal is Signal.REVIEW:
        return _("the review was due on %(date)s")
    if finding.signal is Signal.NOT_EVALUATED:
        exact = _("not evaluated for %(days)s, since %(date)s")
        bound = _("not evaluated for %(days)s or longer, since %(date)s or before")
    elif finding.result:
        exact = _("on for all users for %(days)s, since %(date)s")
        bound = _("on for all users for %(days)s or longer, since %(date)s or before")
    else:
        exact = _("off for all users for %(days)s, since %(date)s")
        bound = _("off for all users for %(days)s or longer, since %(date)s or before")
    return exact if finding.is_exact else bound
