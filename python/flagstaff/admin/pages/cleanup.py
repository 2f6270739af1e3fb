"""The pages for cleaning up: stale flags, and unknown keys.

Stale flags have their next steps; each unknown key of the last days a link that creates the flag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from urllib.parse import urlencode

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flagstaff._tables.rows import Kind, key_is_taken, taken_keys
from flagstaff._text import local_number, localized, most_similar, say
from flagstaff._text.times import local_days, local_time_text
from flagstaff._workers.usage import (
    OTHER_KEYS,
    HourlyUsage,
    UsagePeriod,
    require_usage,
    unknown_keys,
    usage_period,
)
from flagstaff.admin.base_admin import Content, Page, page_links, page_number
from flagstaff.admin.links import history_url, page_link, page_url
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.admin.words import Column, Table, key_link, link, time_cell, two_lines
from flagstaff.changes.fields import command_line
from flagstaff.conf import conf
from flagstaff.exceptions import NoUsageError
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.signals import Assessment, evidence_of, unknown_lines
from flagstaff.validators import key_problem


class StaleFlags(Page):
    """One page for users who may view flags."""

    name = "stale"
    docs_page = "how-to/clean-up/"

    def content(self) -> Content:
        """The table of stale flags, and the number of those that wait for their review."""
        hidden = hidden_rows(self.site, self.request, conf.flag_model)
        flags = [flag for flag in assess_flags() if flag.facts.pk not in hidden]
        titles = (
            say("Flag").local,
            say("Evidence").local,
            say("Stale for").local,
            say("Owner").local,
            say("Tags").local,
        )
        rows = [self._row(flag) for flag in flags if flag.is_stale]
        silent = sum(1 for flag in flags if flag.findings and flag.is_silent)
        return Content(
            sentence=_stale_sentence(),
            notes=unknown_lines(flags),
            tables=[Table([*map(Column, titles)], rows, empty=say("No flag is stale.").local)],
            remarks=[
                say(
                    "{count} flag is not listed until its review date.",
                    "{count} flags are not listed until their review dates.",
                    count=silent,
                ).local
            ]
            if silent
            else [],
        )

    def _row(self, flag: Assessment) -> Sequence[str]:
        facts, lines = flag.facts, [*evidence_of(flag), *self._next_steps(flag)]
        return [
            key_link(facts.key, self._url(flag, "change")),
            format_html_join("", "<div>{}</div>", ((line,) for line in lines)),
            # For how long the oldest signal has held.
            local_days(max(finding.days for finding in flag.findings)),
            facts.owner,
            ", ".join(facts.tags),
        ]

    def _next_steps(self, flag: Assessment) -> list[SafeString | str]:
        """The command that finds the flag in the code, and links for those who may act."""
        model, command = conf.flag_model, command_line("references", flag.facts.key)
        steps: list[SafeString | str] = [
            format_html("{} <code>{}</code>", say("Find it in the code:").local, command)
        ]
        if may(self.site, self.request, "change", model):
            steps.append(link(self._url(flag, "details"), say("Set a review date…").local))
        if may(self.site, self.request, "delete", model):
            steps.append(link(self._url(flag, "delete"), say("Delete…").local))
        return steps

    def _url(self, flag: Assessment, page: str) -> str:
        return page_url(self.site, conf.flag_model, page, flag.facts.pk)


def _stale_sentence() -> str:
    text = say(
        "Each of these flags has had the same result for all users for at least {days} day, was "
        "not evaluated for at least {days} day, or is past its review date. Remove its key from "
        "your code and delete it.",
        "Each of these flags has had the same result for all users for at least {days} days, was "
        "not evaluated for at least {days} days, or is past its review date. Remove its key from "
        "your code and delete it.",
        count=conf.stale_days,
        days=conf.stale_days,
    ).local
    advice = say("If you still need it, set a review date: it is not listed until then.").local
    return f"{text} {advice}"


_DAYS = 7
_PAGE_SIZE = 50
# "new_chekout" and "new_checkout" are similar; keys that share only a prefix are not.
_CUTOFF = 0.8
# To compare with each of many flags is slow: one typing error leaves one of the ends as it is.
_END = 3


class UnknownKeys(Page):
    """Users who may view flags see the keys. Those who may add flags can create them."""

    name = "unknown_keys"
    docs_page = "how-to/clean-up/"

    def content(self) -> Content:
        """The unknown keys. The number of queries does not depend on theirs."""
        try:
            require_usage()
        except NoUsageError as error:
            return Content(notes=[localized(error.message)])
        # Before the keys, which include at least what was reported until then.
        period, number = usage_period(), page_number(self.request)
        offset = (number - 1) * _PAGE_SIZE
        keys, total = unknown_keys(timedelta(days=_DAYS), limit=_PAGE_SIZE, offset=offset)
        columns = [
            Column(say("Key").local),
            Column(say("Evaluations").local, is_number=True),
            *map(Column, (say("Last report").local, say("First hour").local, say("Action").local)),
        ]
        return Content(
            sentence=_unknown_sentence(total, period),
            tables=[Table(columns, self._rows(keys))] if keys else [],
            links=page_links(self.request, number, has_next=total > number * _PAGE_SIZE),
            remarks=[
                say(
                    "Without a flag, the code uses its own default. A flag that you create here "
                    "is off, so no user has it then."
                ).local,
                _period_text(period),
                say("Only keys of flags are counted, not keys of values.").local,
            ],
        )

    def _rows(self, keys: Sequence[HourlyUsage]) -> list[Sequence[str]]:
        site, request, model = self.site, self.request, conf.flag_model
        taken = taken_keys("flag", [usage.key for usage in keys])
        known_flags, has_history = self.shown_flags(), page_link(site, request, "changes")
        add_url = page_url(site, model, "add") if may(site, request, "add", model) else ""

        def row(usage: HourlyUsage) -> Sequence[str]:
            problem = _problem(usage.key, taken.get(usage.key, ""))
            create = f"{add_url}?{urlencode({'key': usage.key})}" if add_url and not problem else ""
            history = history_url(site, Kind.FLAG, usage.key) if has_history else ""
            guess = ""
            if similar := similar_key(usage.key, known_flags):
                flag = key_link(similar, page_url(site, model, "change", known_flags[similar]))
                guess = say("Did you mean {flag}?", flag=flag).html
            return [
                two_lines(key_link(usage.key), guess, problem),
                local_number(usage.count),
                time_cell(usage.last_at),
                time_cell(usage.hour),
                two_lines(
                    create and link(create, say("Create flag…").local),
                    history and link(history, say("History").local),
                ),
            ]

        return [row(usage) for usage in keys]


def similar_key(key: str, known_keys: Iterable[str]) -> str | None:
    """Returns the most similar known key; None if none is. Ignores case."""
    name = key.casefold()
    near = (
        known_key
        for known_key in known_keys
        if (folded := known_key.casefold())[:_END] == name[:_END] or folded[-_END:] == name[-_END:]
    )
    return most_similar(key, near, _CUTOFF)


def _unknown_sentence(total: int, period: UsagePeriod) -> str:
    if not total and period.until is None:
        return say("No worker has reported its evaluations yet.").local
    text = say(
        "In the last {days}, your code evaluated {count} key that has no flag.",
        "In the last {days}, your code evaluated {count} keys that have no flag.",
    )
    if not total:
        text = say("Every key that was evaluated in the last {days} has a flag.")
    return say(text, days=local_days(_DAYS), count=total).local


def _period_text(period: UsagePeriod) -> str:
    """Returns which time the counts cover, and how often workers report."""
    reports = say(
        "Workers report every {seconds} s: later evaluations are not included yet.",
        seconds=f"{conf.usage_interval:g}",
    ).local
    if not conf.usage_interval:
        reports = say("Usage is turned off: USAGE_INTERVAL is 0.").local
    if period.since is None or period.until is None:
        return reports
    counted = say(
        "Counted since {since}, and until {until}.",
        since=local_time_text(period.since),
        until=local_time_text(period.until),
    ).local
    return f"{counted} {reports}"


def _problem(key: str, kind: str) -> str:
    """Why no flag can have the key."""
    if key == OTHER_KEYS:
        return say(
            "This row counts all keys that look generated, and all keys after the first 1,000 of a "
            "process."
        ).local
    if kind:
        return localized(key_is_taken(key, kind))
    if problem := key_problem(key):
        return say("No flag can have this key: {problem}.", problem=problem).local
    return ""
