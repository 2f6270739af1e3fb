"""The page of stale flags, with the next steps of each."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._words.times import local_days
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.rights import hidden_rows
from flagstaff.admin.table import Column, Content, Page, Table, link
from flagstaff.admin.words import key_link
from flagstaff.changes.changed import command_line
from flagstaff.conf import conf
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.signals import Assessment
from flagstaff.stale.texts import evidence_of, unknown_lines


class StaleFlags(Page):
    """One page for users who may view flags."""

    docs_page = "how-to/clean-up/"

    def content(self) -> Content:
        """The tables of stale flags, and of those that wait for their review."""
        hidden = hidden_rows(self.site, self.request, conf.flag_model)
        flags = [flag for flag in assess_flags() if flag.facts.pk not in hidden]
        silent = [flag for flag in flags if flag.findings and flag.is_silent]
        tables = [self._stale([flag for flag in flags if flag.is_stale])]
        return Content(
            sentence=_sentence(),
            notes=unknown_lines(flags),
            tables=[*tables, self._silent(silent)] if silent else tables,
        )

    def _stale(self, flags: Sequence[Assessment]) -> Table:
        titles = (_("Flag"), _("Evidence"), _("Age"), _("Owner"), pgettext("column", "Tags"))
        rows = [
            [
                self._key(flag),
                format_html("{}{}", _evidence(flag), self._next_steps(flag)),
                # For how long the oldest signal has held.
                local_days(max(finding.days for finding in flag.findings)),
                flag.facts.owner,
                ", ".join(flag.facts.tags),
            ]
            for flag in flags
        ]
        return Table([*map(Column, titles)], rows, empty=_("No flag is stale."))

    def _silent(self, flags: Sequence[Assessment]) -> Table:
        titles = (_("Flag"), _("Evidence"), _("Review date"))
        rows = [
            [self._key(flag), _evidence(flag), date_format(flag.facts.review_on)]
            for flag in flags
            if flag.facts.review_on
        ]
        return Table([*map(Column, titles)], rows, _("Not listed until the next review"))

    def _key(self, flag: Assessment) -> str:
        return key_link(flag.facts.key, self._url(flag, "change"))

    def _url(self, flag: Assessment, page: str) -> str:
        """The page of a flag; empty if the user may view no flags."""
        model = conf.flag_model
        has_page = may_view(self.site, self.request, model)
        return page_url(self.site, model, page, flag.facts.pk) if has_page else ""

    def _next_steps(self, flag: Assessment) -> SafeString:
        """The command that finds the flag in the code, and links for those who may act."""
        key, flag_admin = flag.facts.key, admin_of(self.site, conf.flag_model)
        steps: list[str] = [
            format_html(
                "{} <code>{}</code>", _("Find it in the code:"), command_line("references", key)
            )
        ]
        if flag_admin and flag_admin.has_change_permission(self.request):
            steps.append(link(self._url(flag, "details"), _("Set a review date…")))
        if flag_admin and flag_admin.has_delete_permission(self.request):
            steps.append(link(self._url(flag, "delete"), _("Delete…")))
        return format_html_join("", "<div>{}</div>", ((one,) for one in steps))


def _evidence(flag: Assessment) -> SafeString:
    return format_html_join("", "<div>{}</div>", ((text,) for text in evidence_of(flag)))


def _sentence() -> str:
    text = ngettext(
        "Each of these flags has had the same result for all users for at least %(days)s day, was "
        "not evaluated for at least %(days)s day, or is past its review date. Remove its key from "
        "your code and delete it.",
        "Each of these flags has had the same result for all users for at least %(days)s days, was "
        "not evaluated for at least %(days)s days, or is past its review date. Remove its key from "
        "your code and delete it.",
        conf.stale_days,
    )
    advice = _("If you still need it, set a review date: it is not listed until then.")
    return f"{text % {'days': conf.stale_days}} {advice}"
