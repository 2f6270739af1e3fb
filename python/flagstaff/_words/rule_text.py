"""Rules and conditions as sentences, for terminals, messages and pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any, cast

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._words.rule_parts import ALL
from flagstaff._words.text import local_number

# The sentence of each operator, and of its negation.
_SENTENCES = {
    "in": gettext_lazy("%(attribute)s is %(values)s"),
    "not in": gettext_lazy("%(attribute)s is not %(values)s"),
    "contains": gettext_lazy("%(attribute)s contains %(values)s"),
    "not contains": gettext_lazy("%(attribute)s does not contain %(values)s"),
    "startswith": gettext_lazy("%(attribute)s starts with %(values)s"),
    "not startswith": gettext_lazy("%(attribute)s does not start with %(values)s"),
    "endswith": gettext_lazy("%(attribute)s ends with %(values)s"),
    "not endswith": gettext_lazy("%(attribute)s does not end with %(values)s"),
    "regex": gettext_lazy("%(attribute)s matches %(values)s"),
    "not regex": gettext_lazy("%(attribute)s does not match %(values)s"),
    "lt": gettext_lazy("%(attribute)s is less than %(values)s"),
    "not lt": gettext_lazy("%(attribute)s is not less than %(values)s"),
    "lte": gettext_lazy("%(attribute)s is at most %(values)s"),
    "not lte": gettext_lazy("%(attribute)s is not at most %(values)s"),
    "gt": gettext_lazy("%(attribute)s is more than %(values)s"),
    "not gt": gettext_lazy("%(attribute)s is not more than %(values)s"),
    "gte": gettext_lazy("%(attribute)s is at least %(values)s"),
    "not gte": gettext_lazy("%(attribute)s is not at least %(values)s"),
    "version_lt": gettext_lazy("%(attribute)s is a version before %(values)s"),
    "not version_lt": gettext_lazy("%(attribute)s is not a version before %(values)s"),
    "version_gte": gettext_lazy("%(attribute)s is version %(values)s or later"),
    "not version_gte": gettext_lazy("%(attribute)s is not version %(values)s or later"),
    "groups": gettext_lazy("in group %(values)s"),
    "not groups": gettext_lazy("not in group %(values)s"),
    "segment": gettext_lazy("in segment %(values)s"),
    "not segment": gettext_lazy("not in segment %(values)s"),
    "isnull": gettext_lazy("%(attribute)s is missing"),
    "not isnull": gettext_lazy("%(attribute)s is present"),
}
# What JSON of another form raises: SQL can write any.
_OTHER_FORM = (AttributeError, KeyError, TypeError)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def rules_text(rules: object, max_values: int | None = None) -> str | None:
    """Returns the sentences of rules in one line; None if this is not a list of rules.

    `max_values` is the number of values that a condition shows; None shows all.
    """
    if rules == []:
        return _("no rules")
    texts = _numbered(rules, max_values)
    return "; ".join(texts) if texts else None


def rule_changes(old: object, new: object, max_values: int | None = None) -> list[str] | None:
    """Returns a text for each rule that differs, such as 'added rule 2: 50 % if country is "DE"'.

    None if these are not lists of rules, or if only their order differs.
    """
    olds, news = _numbered(old, max_values), _numbered(new, max_values)
    if olds is None or news is None:
        return None
    # As JSON: for Python, 1 equals true.
    before, after = (
        [json.dumps(rule, sort_keys=True) for rule in cast("list[Any]", side)]
        for side in (old, new)
    )
    if sorted(before) == sorted(after):
        return None
    texts = []
    found = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for change, first, last, start, stop in found:
        if change == "equal":
            continue
        removed, added = olds[first:last], news[start:stop]
        both = min(len(removed), len(added))
        texts += [f"{one} → {other}" for one, other in zip(removed, added, strict=False)]
        texts += [_("removed %(rule)s") % {"rule": rule} for rule in removed[both:]]
        texts += [_("added %(rule)s") % {"rule": rule} for rule in added[both:]]
    return texts


def _numbered(rules: object, max_values: int | None) -> list[str] | None:
    """Returns a sentence for each rule, with its name or its number; None for another form."""
    texts = rule_texts(rules, max_values)
    return texts and [
        text if "name" in rule else _named(_("rule %(number)d") % {"number": number}, text)
        for number, (rule, text) in enumerate(zip(_items(rules), texts, strict=True), start=1)
    ]


def rule_texts(
    rules: object, max_values: int | None = None, result: Callable[[object], str] = _quoted
) -> list[str] | None:
    """Returns a sentence for each rule, without its number; None if this is not a list of rules.

    `result` writes what a rule of a value gives.
    """
    try:
        if rules == []:
            return []
        return [_rule_text(rule, max_values, result) for rule in _items(rules)]
    except _OTHER_FORM:
        return None


def conditions_text(conditions: object, max_values: int | None = None) -> str | None:
    """Returns the sentence of conditions; None if this is not a list of conditions."""
    try:
        return _conditions_text(conditions, max_values)
    except _OTHER_FORM:
        return None


def _items(value: object) -> list[Any]:
    if isinstance(value, list) and value:
        return value
    raise TypeError(type(value))


def _rule_text(rule: Any, max_values: int | None, result: Callable[[object], str]) -> str:
    percent, conditions = rule.get("rollout_percent", ALL), rule["conditions"]
    texts = {"percent": str(percent)}
    if "value" in rule:
        texts["value"] = result(rule["value"])
    if "value" in rule and conditions == []:
        text = _("%(value)s for %(percent)s %% of the others") % texts
    else:
        texts["conditions"] = _conditions_text(conditions, max_values)
        if "value" not in rule:
            text = _("%(percent)s %% if %(conditions)s") % texts
        elif percent == ALL:
            text = _("%(value)s if %(conditions)s") % texts
        else:
            text = _("%(value)s for %(percent)s %% if %(conditions)s") % texts
    return _named(_quoted(rule["name"]), text) if "name" in rule else text


def _named(name: str, text: str) -> str:
    return _("%(name)s: %(rule)s") % {"name": name, "rule": text}


def _conditions_text(conditions: object, max_values: int | None) -> str:
    return _(" and ").join(_condition_text(one, max_values) for one in _items(conditions))


def _condition_text(condition: Any, max_values: int | None) -> str:
    negated = condition.get("negate") is True
    prefix = "not " if negated else ""
    if "segment" in condition:
        return _SENTENCES[f"{prefix}segment"] % {"values": _quoted(condition["segment"])}
    operator, values = condition["operator"], _items(condition["values"])
    names = {
        "attribute": str(condition.get("attribute")),
        "operator": str(operator),
        "values": _values_text(values, max_values, negated=negated),
    }
    if operator == "isnull":
        return str(_SENTENCES["not isnull" if values[0] is negated else "isnull"]) % names
    if operator == "in" and condition.get("attribute") == "groups":
        operator = "groups"
    if f"not {operator}" in _SENTENCES:
        return str(_SENTENCES[f"{prefix}{operator}"]) % names
    text = "%(attribute)s %(operator)s %(values)s" % names  # noqa: UP031 (as the others)
    return _("not (%(condition)s)") % {"condition": text} if negated else text


def _values_text(values: list[object], max_values: int | None, *, negated: bool) -> str:
    texts = [*map(_quoted, values)]
    limit = max_values or len(texts)
    shown, count = texts[:limit], len(texts) - limit
    if negated:
        items = _(" nor ").join(shown)
        more = ngettext("%(items)s nor %(count)s more", "%(items)s nor %(count)s more", count)
    else:
        items = _(" or ").join(shown)
        more = ngettext("%(items)s or %(count)s more", "%(items)s or %(count)s more", count)
    return more % {"items": items, "count": local_number(count)} if count > 0 else items
