"""What the page and the list of flags show of stale flags."""

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

from flagstaff._tables.names import USAGE_TABLES
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.bulk.part import BulkActions
from flagstaff.admin.flag.list.facts import FlagList, PlannedFlags
from flagstaff.admin.flag.parts.app_panels import AppPart
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.page import Page, page_of_row, stored_row
from flagstaff.cleanup.admin.rows import evidence_of, labels_of, unknown_lines
from flagstaff.cleanup.admin.snoozing import SNOOZE
from flagstaff.cleanup.flag_rows import Selection
from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.stale import assess_flags
from flagstaff.cleanup.stale_signals import Assessment


@dataclass(frozen=True)
class _Assessments:
    """The signals of the flag of a page."""

    found: list[Assessment]


class StaleFlag(BulkActions, AppPart):
    """The signals of stale flags, and the action that snoozes several of them."""

    table = (SNOOZE,)

    app_label = "flagstaff_cleanup"
    panel_title = gettext_lazy("Clean-up")

    def media(self) -> Media:
        """The stylesheet of the panel and of the notes."""
        return Media(css={"all": ("flagstaff/cleanup.css",)})

    def links(self, request: HttpRequest) -> Sequence[tuple[str, str]]:
        """The link to the page of stale flags, if the user may open it."""
        site = self.admin.admin_site
        if not may_view(site, request, Snooze):
            return ()
        return ((page_url(site, Snooze, "changelist"), _("Stale flags")),)

    def notes(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """The signals of those flags that are stale. A number of queries for all of them."""
        if not flags:
            return {}
        found = _assess(flags[0]) if len(flags) == 1 else assess_flags(selection=_selection(flags))
        return {flag.facts.pk: _note(flag) for flag in found if flag.is_stale}

    def panel(self, request: HttpRequest, flag: Any) -> SafeString:
        """The signals of a flag, its snooze, and a link to the page of stale flags."""
        found = _assess(flag)
        lines = [line for one in found for line in _lines(one)] or [_("The flag is not stale.")]
        lines += unknown_lines(found)
        links = format_html_join(" · ", '<a href="{}">{}</a>', self.links(request))
        return format_html(
            '<div class="flagstaff-panel flagstaff-stale-panel">{}'
            '<p class="flagstaff-line">{}</p></div>',
            format_html_join("", '<p class="flagstaff-line">{}</p>', ((line,) for line in lines)),
            links,
        )


def _assess(flag: Model) -> list[Assessment]:
    """Returns the signals of one flag: the head and the panel of its page show them."""
    # The form may have changed the object.
    stored: Model = stored_row(flag)
    page = page_of_row(flag)
    if page is None:
        return _read(stored).found
    return page.once(_Assessments, partial(_read, stored)).found


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
    return can_read(page.request, "change_table", *USAGE_TABLES)


def _note(flag: Assessment) -> str:
    return _("stale: %(signals)s") % {"signals": ", ".join(labels_of(flag))}


def _lines(flag: Assessment) -> list[str | SafeString]:
    lines: list[str | SafeString] = [f"{text}." for text in evidence_of(flag)]
    if flag.is_stale:
        label = '<span class="flagstaff-state flagstaff-partial">{}</span> {}'
        lines[0] = format_html(label, _("stale"), lines[0])
    if flag.is_snoozed and flag.facts.snoozed_until is not None:
        until = date_format(flag.facts.snoozed_until)
        lines.append(_("Snoozed until %(date)s.") % {"date": until})
        if flag.facts.snooze_reason:
            lines.append(_("Reason: %(reason)s") % {"reason": flag.facts.snooze_reason})
    return lines
