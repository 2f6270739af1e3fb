"""The page of stale flags, with the next steps of each."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flagstaff._text import say
from flagstaff._text.times import local_days
from flagstaff.admin.links import page_url
from flagstaff.admin.pages import Content, Page
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.admin.words import Column, Table, key_link, link
from flagstaff.changes.changed import command_line
from flagstaff.conf import conf
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.signals import Assessment, evidence_of, unknown_lines


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
            say("Age").local,
            say("Owner").local,
            say("Tags").local,
        )
        rows = [self._row(flag) for flag in flags if flag.is_stale]
        silent = sum(1 for flag in flags if flag.findings and flag.is_silent)
        return Content(
            sentence=_sentence(),
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


def _sentence() -> str:
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
