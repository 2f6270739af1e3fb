"""Rules and conditions as sentences of a page, with links to what they name, and what uses that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst

from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, all_rows, segment_model
from flagstaff._tables.states import ValueState
from flagstaff._tables.user_lookup import group_members
from flagstaff._text import MASK, Sentence, local_list, quoted, say
from flagstaff._text.rules import conditions_text, groups_of, named_segments, rule_parts, rule_texts
from flagstaff.admin.links import page_url
from flagstaff.admin.rights import hidden_rows, may_see, may_view
from flagstaff.admin.words import joined, json_html, note_html
from flagstaff.changes.row_states import RuleUse
from flagstaff.history.describe import describe_value
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem

# The number of values that a condition shows, and of characters of JSON without sentences.
_MAX_VALUES, _MAX_JSON = 20, 1_000
# The groups whose members are counted.
_MAX_GROUPS = 20
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
    """Returns a sentence for each rule, and why workers cannot read them."""
    texts = rule_texts(rules, max_values=_MAX_VALUES)
    html = _json(rules) if texts is None else _list(texts)
    return _with_notes(rule_problem(rules), html, rules) + _segments_html(rules, site, request)


def rule_lines(rules: object) -> list[tuple[str, str, str]]:
    """Returns of each rule its name, its conditions and its percentage; of other JSON, that."""
    parts = rule_parts(rules, max_values=_MAX_VALUES)
    if parts is None:
        return [(say("Rules").local, _json(rules), "")]
    return [
        (name or say("Rule {number}", number=str(number)).local, conditions, f"{percent} %")
        for number, (name, conditions, percent) in enumerate(parts, start=1)
    ]


def rule_notes(rules: object, site: AdminSite, request: HttpRequest) -> SafeString:
    """Returns why workers cannot read the rules, and the groups and segments that they name."""
    return _with_notes(rule_problem(rules), SafeString(), rules) + _segments_html(
        rules, site, request
    )


def results_html(state: ValueState, site: AdminSite, request: HttpRequest) -> SafeString:
    """Returns a sentence for each rule of a value, and for the value itself."""
    rules, secret = state.rules, state.is_secret

    def result(value: object) -> str:
        shown = describe_value(value, secret=secret)
        return shown if secret else Truncator(shown).chars(_MAX_RESULT)

    texts = rule_texts(rules or [], max_values=_MAX_VALUES, result=result)
    if texts is None:
        html = SafeString(MASK) if secret else _json(rules)
    else:
        last = say("{value} for all others") if texts else say("{value} for everyone")
        html = _list(texts, say(last, value=result(state.value)).local)
    problem = value_rule_problem(rules)
    return _with_notes(problem, html, rules) + _segments_html(rules, site, request)


def conditions_html(conditions: object) -> SafeString:
    """Returns the sentence of the conditions of a segment, and why workers cannot read them."""
    text = conditions_text(conditions, max_values=_MAX_VALUES)
    html = _json(conditions) if text is None else format_html("<p>{}</p>", text)
    return _with_notes(condition_problem(conditions), html, conditions)


def _list(texts: Iterable[str], own_value: str = "") -> SafeString:
    """Returns a numbered list. The value itself is no rule, and has no number."""
    items = format_html_join("", "<li>{}</li>", ((text,) for text in texts))
    last = format_html('<li class="flagstaff-own-value">{}</li>', own_value) if own_value else ""
    return format_html('<ol class="flagstaff-rules">{}{}</ol>', items, last)


def _json(stored: object) -> SafeString:
    """Returns JSON of another form, which SQL has written."""
    return json_html(describe_value(stored, limit=_MAX_JSON))


def _with_notes(problem: Sentence | None, html: SafeString, stored: object) -> SafeString:
    """Returns the sentences below why workers cannot read them, and above what their groups are."""
    if problem is not None:
        text = say(
            "Workers cannot read this: {problem}. They keep what they could read before; a "
            "worker without it returns the default of the call, or the value itself.",
            problem=problem,
        ).local
        html = format_html('<p class="flagstaff-problem">{}</p>{}', text, html)
    # A change of the members changes who has the flag.
    counts = group_members(groups_of(stored), db.alias)
    if not counts:
        return html
    texts = (
        say(
            "{group} has {count} member",
            "{group} has {count} members",
            count=count,
            group=quoted(name),
        ).local
        for name, count in counts.items()
    )
    text = say("Groups: {groups}.", groups=local_list(texts, _MAX_GROUPS)).local
    return html + note_html(text)


def _segments_html(rules: object, site: AdminSite, request: HttpRequest) -> SafeString:
    """Returns a line with the segments that rules name, as links for who may view them."""
    keys: Sequence[str] = [*dict.fromkeys(key for key, _place in named_segments(rules))]
    if not keys:
        return SafeString()
    model = segment_model()
    pks, hidden = _segments(), hidden_rows(site, request, model)
    has_links = may_view(site, request, model)

    def shown(key: str) -> str:
        if key not in pks:
            return say("{segment} (does not exist)", segment=key).local
        if not has_links or str(pks[key]) in hidden:
            return key
        return format_html('<a href="{}">{}</a>', page_url(site, model, "change", pks[key]), key)

    title = capfirst(model._meta.verbose_name_plural)
    return note_html(format_html("{}: {}", title, joined(", ", map(shown, keys))))


def rules_note(rules: Any, problem_of: Callable[[Any], object]) -> str:
    """Returns a line of a list, such as "2 rules"; empty without rules."""
    if rules == []:
        return ""
    if problem_of(rules) is not None:
        return say("unreadable rules").local
    return say("{count} rule", "{count} rules", count=len(rules)).local


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
