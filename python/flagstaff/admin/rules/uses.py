"""What uses a segment or a flag, on their pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flagstaff._text import say
from flagstaff.admin.links import page_url
from flagstaff.admin.rights import may_see
from flagstaff.admin.words import note_html
from flagstaff.changes.rule_use import RuleUse
from flagstaff.history.kinds import Kind

# The rows that a page links to.
_MAX_SHOWN = 50


def used_by_html(site: AdminSite, request: HttpRequest, uses: Sequence[RuleUse]) -> SafeString:
    """Returns what uses a row, as links for users who may view all of it, else as numbers."""
    if not uses:
        return format_html("{}", say("no flag").local)
    may_see_all = all(may_see(site, request, use.model, use.row.pk) for use in uses)
    shown = _links(site, uses) if may_see_all else format_html("{}", count_text(uses))
    return shown + note_html(say("It cannot be deleted while rules name it.").local)


def _links(site: AdminSite, uses: Sequence[RuleUse]) -> SafeString:
    urls = ((page_url(site, use.model, "change", use.row.pk), use.key) for use in uses[:_MAX_SHOWN])
    links = format_html_join(", ", '<a href="{}" class="flagstaff-key">{}</a>', urls)
    if (more := len(uses) - _MAX_SHOWN) <= 0:
        return links
    text = say("{links} and {count} more", "{links} and {count} more", count=more, links=links)
    return text.html


def count_text(uses: Collection[RuleUse]) -> str:
    """Returns how many flags, values, segments and experiments use a row."""
    kinds = [use.kind for use in uses]
    texts = {
        Kind.FLAG: say("{count} flag", "{count} flags"),
        Kind.VALUE: say("{count} value", "{count} values"),
        Kind.SEGMENT: say("{count} segment", "{count} segments"),
        None: say("{count} experiment", "{count} experiments"),
    }
    counts = ((text, kinds.count(kind)) for kind, text in texts.items())
    return ", ".join(say(text, count=count).local for text, count in counts if count)
