"""Rules and conditions as sentences, for terminals, messages and pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._words.rule_parts import ALL
from flagstaff._words.text import local_number

# The sentence of each operator, and of its negation.
_SENTENCES = {
    "in": (
        gettext_lazy("%(attribute)s is %(values)s"),
        gettext_lazy("%(attribute)s is not %(values)s"),
    ),
    "contains": (
        gettext_lazy("%(attribute)s contains %(values)s"),
        gettext_lazy("%(attribute)s does not contain %(values)s"),
    ),
    "startswith": (
        gettext_lazy("%(attribute)s starts with %(values)s"),
        gettext_lazy("%(attribute)s does not start with %(values)s"),
    ),
    "endswith": (
        gettext_lazy("%(attribute)s ends with %(values)s"),
        gettext_lazy("%(attribute)s does not end with %(values)s"),
    ),
    "regex": (
        gettext_lazy("%(attribute)s matches %(values)s"),
        gettext_lazy("%(attribute)s does not match %(values)s"),
    ),
    "lt": (
        gettext_lazy("%(attribute)s is less than %(values)s"),
        gettext_lazy("%(attribute)s is not less than %(values)s"),
    ),
    "lte": (
        gettext_lazy("%(attribute)s is at most %(values)s"),
        gettext_lazy("%(attribute)s is not at most %(values)s"),
    ),
    "gt": (
        gettext_lazy("%(attribute)s is more than %(values)s"),
        gettext_lazy("%(attribute)s is not more than %(values)s"),
    ),
    "gte": (
        gettext_lazy("%(attribute)s is at least %(values)s"),
        gettext_lazy("%(attribute)s is not at least %(values)s"),
    ),
    "version_lt": (
        gettext_lazy("%(attribute)s is a version before %(values)s"),
        gettext_lazy("%(attribute)s is not a version before %(values)s"),
    ),
    "version_gte": (
        gettext_lazy("%(attribute)s is version %(values)s or later"),
        gettext_lazy("%(attribute)s is not version %(values)s or later"),
    ),
    "groups": (
        gettext_lazy("in group %(values)s"),
        gettext_lazy("not in group %(values)s"),
    ),
    "segment": (
        gettext_lazy("in segment %(values)s"),
        gettext_lazy("not in segment %(values)s"),
    ),
}

_IS_MISSING = gettext_lazy("%(attribute)s is missing")
_IS_PRESENT = gettext_lazy("%(attribute)s is present")


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Style:
    """How the names and values of a sentence are written. By default, as plain text."""

    #: Escapes a name or a value, for example for HTML.
    escape: Callable[[str], str] = str
    #: Writes the key of a segment.
    segment: Callable[[str], str] = _quoted
    #: The number of values that a condition shows; None shows all.
    max_values: int | None = None
    #: Writes what a rule of a value gives.
    value: Callable[[object], str] = _quoted


_PLAIN = Style()


def rules_text(rules: object, style: Style = _PLAIN) -> str | None:
    """Returns the sentences of rules; None if this is not a list of rules."""
    if rules == []:
        return _("no rules")
    texts = [_rule_text(number, rule, style) for number, rule in enumerate(_list(rules), start=1)]
    return None if not texts or None in texts else "; ".join(filter(None, texts))


def rule_texts(rules: object, style: Style = _PLAIN) -> list[str] | None:
    """Returns a sentence for each rule, without its number; None if this is not a list of rules."""
    texts = [_numbered_elsewhere(rule, style) for rule in _list(rules)]
    found = [text for text in texts if text is not None]
    return found if isinstance(rules, list) and len(found) == len(texts) else None


def conditions_text(conditions: object, style: Style = _PLAIN) -> str | None:
    """Returns the sentence of conditions; None if this is not a list of conditions."""
    texts = [_condition_text(condition, style) for condition in _list(conditions)]
    return None if not texts or None in texts else _(" and ").join(filter(None, texts))


def _rule_text(number: int, rule: object, style: Style) -> str | None:
    text = _unnamed(rule, style)
    if text is None:
        return None
    name = _name(rule, style) or _("rule %(number)d") % {"number": number}
    return _("%(name)s: %(rule)s") % {"name": name, "rule": text}


def _numbered_elsewhere(rule: object, style: Style) -> str | None:
    text, name = _unnamed(rule, style), _name(rule, style)
    if text is None or name is None:
        return text
    return _("%(name)s: %(rule)s") % {"name": name, "rule": text}


def _unnamed(rule: object, style: Style) -> str | None:
    if not isinstance(rule, dict):
        return None
    conditions = conditions_text(rule.get("conditions"), style)
    percent = rule.get("rollout_percent", ALL)
    texts = {"percent": style.escape(str(percent)), "conditions": conditions}
    if "value" in rule:
        texts["value"] = style.escape(style.value(rule["value"]))
        return _of_value(texts, is_whole=percent == ALL, is_last=rule.get("conditions") == [])
    return None if conditions is None else _("%(percent)s %% if %(conditions)s") % texts


def _of_value(texts: Mapping[str, str | None], *, is_whole: bool, is_last: bool) -> str | None:
    """Returns the sentence of a rule of a value. The last one may be for all others."""
    if is_last:
        return _("%(value)s for %(percent)s %% of the others") % texts
    if texts["conditions"] is None:
        return None
    if is_whole:
        return _("%(value)s if %(conditions)s") % texts
    return _("%(value)s for %(percent)s %% if %(conditions)s") % texts


def _name(rule: object, style: Style) -> str | None:
    if not isinstance(rule, dict) or "name" not in rule:
        return None
    return style.escape(_quoted(rule["name"]))


def _condition_text(condition: object, style: Style) -> str | None:
    if not isinstance(condition, dict):
        return None
    negated = condition.get("negate") is True
    if "segment" in condition:
        key = condition["segment"]
        shown = style.segment(key) if isinstance(key, str) else style.escape(_quoted(key))
        return _SENTENCES["segment"][negated] % {"values": shown}
    operator, values = condition.get("operator"), _list(condition.get("values"))
    if not values or not isinstance(operator, str):
        return None
    names = {
        "attribute": style.escape(str(condition.get("attribute"))),
        "operator": style.escape(operator),
        "values": _values_text(values, style, negated=negated),
    }
    if operator == "isnull" and len(values) == 1 and isinstance(values[0], bool):
        return str(_IS_MISSING if values[0] is not negated else _IS_PRESENT) % names
    if operator in _SENTENCES:
        is_group = operator == "in" and condition.get("attribute") == "groups"
        return _SENTENCES["groups" if is_group else operator][negated] % names
    text = "%(attribute)s %(operator)s %(values)s" % names  # noqa: UP031 (as the others)
    return _("not (%(condition)s)") % {"condition": text} if negated else text


def _values_text(values: list[object], style: Style, *, negated: bool) -> str:
    texts = [style.escape(_quoted(value)) for value in values]
    limit = style.max_values or len(texts)
    shown, count = texts[:limit], len(texts) - limit
    if negated:
        items = _(" nor ").join(shown)
        more = ngettext("%(items)s nor %(count)s more", "%(items)s nor %(count)s more", count)
    else:
        items = _(" or ").join(shown)
        more = ngettext("%(items)s or %(count)s more", "%(items)s or %(count)s more", count)
    return more % {"items": items, "count": local_number(count)} if count > 0 else items


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
