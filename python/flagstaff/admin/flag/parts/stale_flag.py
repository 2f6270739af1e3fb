"""What the list and the page of a flag show of its signals of being stale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.models import Model, Q
from django.forms import Media
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.list.facts import FlagList, PlannedFlags
from flagstaff.admin.flag.parts.app_panels import AppPart
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.links import list_link, may_view
from flagstaff.admin.page import Page, page_of_row
from flagstaff.admin.rights import may
from flagstaff.models import StaleFlag
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.flag_rows import Selection
from flagstaff.stale.signals import Assessment
from flagstaff.stale.texts import SIGNAL_LABELS, evidence_of, unknown_lines


@dataclass(frozen=True)
class _Assessments:
    """The signals of the flag of a page."""

    found: list[Assessment]


class StaleSignals(AppPart):
    """The signals of a flag: short in the list, and as sentences on its page."""

    app_label = "flagstaff"
    panel_title = gettext_lazy("Clean-up")

    def media(self) -> Media:
        """The stylesheet of the panel and of the notes."""
        return Media(css={"all": ("flagstaff/stale.css",)})

    def notes(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """The signals of those flags that are stale. A number of queries for all of them."""
        if not flags:
            return {}
        found = _assess(flags[0]) if len(flags) == 1 else assess_flags(selection=_selection(flags))
        return {flag.facts.pk: _note(flag) for flag in found if flag.is_stale}

    def panel(self, request: HttpRequest, flag: Any) -> SafeString:
        """The signals of a flag, and a link to the page of stale flags."""
        found, site = _assess(flag), self.admin.admin_site
        lines = [line for one in found for line in _lines(one)]
        lines += unknown_lines(found)
        if not lines:
            return SafeString()
        is_listed = any(one.is_stale for one in found)
        if is_listed and may(site, request, "change", flag):
            lines.append(_("If you still need it, set a review date: it is not listed until then."))
        links = [list_link(site, StaleFlag)] if may_view(site, request, StaleFlag) else []
        return format_html(
            '<div class="flagstaff-panel flagstaff-stale-panel">{}'
            '<p class="flagstaff-line">{}</p></div>',
            format_html_join("", '<p class="flagstaff-line">{}</p>', ((line,) for line in lines)),
            format_html_join("", '<a href="{}">{}</a>', links),
        )


def _assess(flag: Model) -> list[Assessment]:
    """Returns the signals of one flag: the head and the panel of its page show them."""
    page = page_of_row(flag)
    if page is None:
        return _read(flag).found
    return page.once(_Assessments, partial(_read, flag)).found


def _read(flag: Model) -> _Assessments:
    return _Assessments(assess_flags(selection=_selection([flag])))


def _selection(flags: Sequence[Model]) -> Selection:
    """Returns the flags as the list has read them, if it has read all columns."""
    if any(flag.get_deferred_fields() or not hasattr(flag, ALLOWED_COUNT) for flag in flags):
        return Selection(Q(), pks=[flag.pk for flag in flags])
    page = page_of_row(flags[0])
    planned = page.kept(PlannedFlags) if page else None
    return Selection(
        Q(),
        rows=[(flag, getattr(flag, ALLOWED_COUNT)) for flag in flags],
        # None if no app has said it.
        planned=None if planned is None else planned.pks,
        is_readable=_is_readable(flags[0], page),
    )


def _is_readable(flag: Model, page: Page | None) -> bool:
    """Whether the page has found that the history and the usage can be read."""
    if page is None or page.is_list:
        return FlagList.of(flag).is_readable
    return can_read(page.request, "change_table", "usage_table")


def _note(flag: Assessment) -> str:
    labels = (str(SIGNAL_LABELS[finding.signal]) for finding in flag.findings)
    return _("stale: %(signals)s") % {"signals": ", ".join(labels)}


def _lines(flag: Assessment) -> list[str | SafeString]:
    lines: list[str | SafeString] = [f"{text}." for text in evidence_of(flag)]
    if flag.is_stale:
        label = '<span class="flagstaff-state flagstaff-partial">{}</span> {}'
        lines[0] = format_html(label, _("stale"), lines[0])
    elif lines and flag.facts.review_on is not None:
        text = _("The flag is not listed as stale until its review on %(date)s.")
        lines.append(text % {"date": date_format(flag.facts.review_on)})
    return lines
