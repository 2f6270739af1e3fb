"""What the list and the page of a flag show of its signals of being stale."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.menu import page_link, page_title
from flagstaff.admin.part import AppPart
from flagstaff.admin.rights import may
from flagstaff.admin.words import badge
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.flag_rows import Selection
from flagstaff.stale.signals import Assessment
from flagstaff.stale.texts import evidence_of, unknown_lines


class StaleSignals(AppPart):
    """The signals of a flag: short in the list, and as sentences on its page."""

    app_label = "flagstaff"
    panel_title = gettext_lazy("Clean-up")

    def panel(self, request: HttpRequest, flag: Any) -> SafeString:
        """The signals of a flag, and a link to the page of stale flags."""
        selection = Selection(
            Q(),
            rows=[(flag, getattr(flag, ALLOWED_COUNT))],
            is_readable=can_read(request, "change_table", "usage_table"),
        )
        found, site = assess_flags(selection=selection), self.admin.admin_site
        lines = [line for one in found for line in _lines(one)]
        lines += unknown_lines(found)
        if not lines:
            return SafeString()
        is_listed = any(one.is_stale for one in found)
        if is_listed and may(site, request, "change", flag):
            lines.append(_("If you still need it, set a review date: it is not listed until then."))
        url = page_link(site, request, "stale")
        return format_html(
            '<div>{}<p class="flagstaff-line">{}</p></div>',
            format_html_join("", '<p class="flagstaff-line">{}</p>', ((line,) for line in lines)),
            format_html('<a href="{}">{}</a>', url, page_title("stale")) if url else "",
        )


def _lines(flag: Assessment) -> list[str | SafeString]:
    lines: list[str | SafeString] = [f"{text}." for text in evidence_of(flag)]
    if flag.is_stale:
        lines[0] = format_html("{} {}", badge("stale", _("stale")), lines[0])
    elif lines and flag.facts.review_on is not None:
        text = _("The flag is not listed as stale until its review on %(date)s.")
        lines.append(text % {"date": date_format(flag.facts.review_on)})
    return lines
