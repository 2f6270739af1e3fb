"""Rules and conditions as sentences of a page, with links to the segments that they name."""

from __future__ import annotations

import json

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.group_lookup import group_members
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff._words.message import localized
from flagstaff._words.rule_parts import groups_of, named_segments
from flagstaff._words.rule_text import Style, conditions_text, rule_texts
from flagstaff.admin.links import may_view, page_url
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.validators import condition_problem, rule_problem

# The number of values that a condition shows, and of characters of JSON without sentences.
_MAX_VALUES = 20
# The groups whose members are counted.
_MAX_GROUPS = 20
_MAX_JSON = 1_000


def rules_html(rules: object, site: AdminSite, request: HttpRequest | None) -> SafeString:
    """Returns a numbered list with a sentence for each rule, and why workers cannot read them."""
    if isinstance(rules, UnreadableJson):
        return escape(describe_value(rules))
    notice = _(
        "Workers cannot read these rules: %(problem)s. A worker keeps the last rules that it "
        "could read; without any, the flag returns the default of the call."
    )
    texts = rule_texts(rules, _style(_segment_links(rules, site, request)))
    if texts is None:
        html = _other_json(rules, "rules")
    else:
        # Names and values are escaped.
        items = format_html_join("", "<li>{}</li>", ((mark_safe(text),) for text in texts))  # noqa: S308
        html = format_html('<ol class="flagstaff-rules">{}</ol>', items)
    return _with_problem(notice, rule_problem(rules), html + _members(rules))


def conditions_html(conditions: object) -> SafeString:
    """Returns the sentence of the conditions of a segment, and why workers cannot read them."""
    if isinstance(conditions, UnreadableJson):
        return escape(describe_value(conditions))
    notice = _(
        "Workers cannot read these conditions: %(problem)s. A worker keeps the last conditions "
        "that it could read; without any, the conditions that name the segment are false."
    )
    text = conditions_text(conditions, _style({}))
    # Names and values are escaped.
    html = _other_json(conditions, "conditions") if text is None else mark_safe(text)  # noqa: S308
    return _with_problem(notice, condition_problem(conditions), html + _members(conditions))


def _members(rules: object) -> SafeString:
    """How many members the groups have: a change of them changes who has the flag."""
    counts = group_members(groups_of(rules), conf.database)
    if not counts:
        return SafeString()
    texts = (
        ngettext("%(group)s has %(count)s member", "%(group)s has %(count)s members", count)
        % {"group": quoted(name), "count": local_number(count)}
        for name, count in counts.items()
    )
    text = _("Groups: %(groups)s.") % {"groups": local_list(texts, _MAX_GROUPS)}
    return format_html('<p class="flagstaff-note">{}</p>', text)


def _segment_links(rules: object, site: AdminSite, request: HttpRequest | None) -> dict[str, str]:
    """The URL of each segment that the rules name and that exists; "" without permission."""
    model, keys = segment_model(), {key for key, _place in named_segments(rules)}
    if not keys:
        return {}
    pks = all_rows(model).filter(key__in=keys).values_list("key", "pk")
    has_link = request is not None and may_view(site, request, model)
    return {key: page_url(site, model, "change", pk) if has_link else "" for key, pk in pks}


def _style(links: dict[str, str]) -> Style:
    def segment(key: str) -> str:
        quoted = json.dumps(key, ensure_ascii=False)
        if key not in links:
            return escape(_("%(segment)s (does not exist)") % {"segment": quoted})
        if not links[key]:
            return escape(quoted)
        return format_html('<a href="{}">{}</a>', links[key], quoted)

    return Style(escape, segment, _MAX_VALUES)


def _other_json(value: object, field: str) -> str:
    """JSON of another form, which SQL has written."""
    text = describe_value(value, field=field, limit=_MAX_JSON)
    return format_html('<span class="flagstaff-json">{}</span>', text)


def _with_problem(notice: str, problem: str | None, html: str) -> SafeString:
    if problem is None:
        return format_html("{}", html)
    text = notice % {"problem": localized(problem)}
    return format_html('<p class="flagstaff-problem">{}</p>{}', text, html)
