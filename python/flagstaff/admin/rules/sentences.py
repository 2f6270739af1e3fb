"""Rules and conditions as sentences of a page, with links to the segments that they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.group_lookup import group_members
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff._tables.value_states import ValueState
from flagstaff._words.rule_parts import groups_of, named_segments
from flagstaff._words.rule_text import Style, conditions_text, rule_texts
from flagstaff._words.text import MASK, Text, local_list, local_number, localized, quoted
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.rights import hidden_rows
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem

# The number of values that a condition shows, and of characters of JSON without sentences.
_MAX_VALUES = 20
# The groups whose members are counted.
_MAX_GROUPS = 20
_MAX_JSON = 1_000
# The length of the value that a rule gives.
_MAX_RESULT = 80


def shown_segments(site: AdminSite, request: HttpRequest) -> list[str]:
    """Returns the keys of the segments that the user may see. Queries."""
    hidden = hidden_rows(site, request, segment_model())
    return [key for key, pk in _segments().items() if str(pk) not in hidden]


def _segments() -> dict[str, object]:
    """The primary keys of all segments by key, in order."""
    return dict(all_rows(segment_model()).order_by("key").values_list("key", "pk"))


def rules_html(rules: object, site: AdminSite, request: HttpRequest) -> SafeString:
    """Returns a numbered list with a sentence for each rule, and why workers cannot read them."""
    notice = _(
        "Workers cannot read these rules: %(problem)s. A worker keeps the last rules that it "
        "could read; without any, the flag returns the default of the call."
    )
    html = None
    if (texts := rule_texts(rules, _style(_segment_links(rules, site, request)))) is not None:
        html = format_html('<ol class="flagstaff-rules">{}</ol>', _items(texts))
    return _with_problem("rules", rules, html, notice, rule_problem)


def results_html(state: ValueState, site: AdminSite, request: HttpRequest) -> SafeString:
    """Returns a sentence for each rule of a value, and for the value itself."""
    rules, secret = state.rules, state.is_secret
    notice = _(
        "Workers cannot read these rules: %(problem)s. A worker keeps the last rules that it "
        "could read; without any, all users get the value itself."
    )
    html = None
    style = replace(_style(_segment_links(rules, site, request)), value=result_text(secret=secret))
    if (texts := rule_texts(rules or [], style)) is not None:
        # The value itself is no rule, and has no number.
        last = _("%(value)s for all others") if texts else _("%(value)s for everyone")
        own_text = last % {"value": escape(style.value(state.value))}
        own = mark_safe(own_text)  # noqa: S308 (the value is escaped)
        own_html = format_html('<li class="flagstaff-own-value">{}</li>', own)
        html = format_html('<ol class="flagstaff-rules">{}{}</ol>', _items(texts), own_html)
    elif secret:
        html = SafeString(MASK)
    return _with_problem("rules", rules, html, notice, value_rule_problem)


def result_text(*, secret: bool) -> Callable[[object], str]:
    """Returns a function from the value that a rule gives to its text: short, or masked."""

    def text(value: object) -> str:
        shown = describe_value(value, secret=secret)
        return shown if secret else Truncator(shown).chars(_MAX_RESULT)

    return text


def _items(texts: Iterable[str]) -> SafeString:
    # Names and values are escaped.
    return format_html_join("", "<li>{}</li>", ((mark_safe(text),) for text in texts))  # noqa: S308


def conditions_html(conditions: object) -> SafeString:
    """Returns the sentence of the conditions of a segment, and why workers cannot read them."""
    notice = _(
        "Workers cannot read these conditions: %(problem)s. A worker keeps the last conditions "
        "that it could read; without any, the conditions that name the segment are false."
    )
    html = None
    if (text := conditions_text(conditions, _style({}))) is not None:
        # Names and values are escaped.
        html = format_html("<p>{}</p>", mark_safe(text))  # noqa: S308
    return _with_problem("conditions", conditions, html, notice, condition_problem)


def _with_problem(
    field: str,
    stored: object,
    html: SafeString | None,
    notice: str,
    problem_of: Callable[[object], Text | None],
) -> SafeString:
    """The sentences, or JSON of another form that SQL has written, below its problem."""
    if html is None:
        text = describe_value(stored, field=field, limit=_MAX_JSON)
        html = format_html('<span class="flagstaff-json">{}</span>', text)
    if problem := problem_of(stored):
        text = notice % {"problem": localized(problem)}
        html = format_html('<p class="flagstaff-problem">{}</p>{}', text, html)
    return html + _members(stored)


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


def _segment_links(rules: object, site: AdminSite, request: HttpRequest) -> dict[str, str]:
    """The URL of each segment that the rules name and that exists; "" without permission."""
    model, keys = segment_model(), {key for key, _place in named_segments(rules)}
    if not keys:
        return {}
    pks, hidden = _segments(), hidden_rows(site, request, model)
    has_link = may_view(site, request, model)
    return {
        key: page_url(site, model, "change", pks[key])
        if has_link and str(pks[key]) not in hidden
        else ""
        for key in keys.intersection(pks)
    }


def _style(links: dict[str, str]) -> Style:
    def segment(key: str) -> str:
        quoted = json.dumps(key, ensure_ascii=False)
        if key not in links:
            return escape(_("%(segment)s (does not exist)") % {"segment": quoted})
        if not links[key]:
            return escape(quoted)
        return format_html('<a href="{}">{}</a>', links[key], quoted)

    return Style(escape, segment, max_values=_MAX_VALUES)
