"""Rules and conditions as sentences."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

__all__ = ["conditions_text", "in_reading_order", "rules_text"]

# PostgreSQL sorts the members of an object by the length of their names.
_MEMBERS = (
    "name",
    "attribute",
    "operator",
    "segment",
    "values",
    "negate",
    "conditions",
    "rollout_percent",
)

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
    "segment": (
        gettext_lazy("in segment %(values)s"),
        gettext_lazy("not in segment %(values)s"),
    ),
}


def rules_text(rules: object) -> str | None:
    """Returns the sentences of a flag's rules; None if this is not a list of rules."""
    if rules == []:
        return _("no rules")
    texts = [_rule_text(number, rule) for number, rule in enumerate(_list(rules), start=1)]
    return None if not texts or None in texts else "; ".join(filter(None, texts))


def conditions_text(conditions: object) -> str | None:
    """Returns the sentence of conditions; None if this is not a list of conditions."""
    texts = [_condition_text(condition) for condition in _list(conditions)]
    return None if not texts or None in texts else _(" and ").join(filter(None, texts))


def in_reading_order(rules: object) -> object:
    """Returns rules or conditions with the members of each object as people write them."""
    if isinstance(rules, list):
        return [in_reading_order(one) for one in rules]
    if not isinstance(rules, dict):
        return rules
    names = [*(name for name in _MEMBERS if name in rules), *rules]
    return {name: in_reading_order(rules[name]) for name in names}


def _rule_text(number: int, rule: object) -> str | None:
    conditions = conditions_text(rule.get("conditions")) if isinstance(rule, dict) else None
    if not isinstance(rule, dict) or conditions is None:
        return None
    name = _quoted(rule["name"]) if "name" in rule else _("rule %(number)d") % {"number": number}
    percent = rule.get("rollout_percent", 100)
    texts = {"name": name, "conditions": conditions, "percent": percent}
    return _("%(name)s: %(percent)s %% if %(conditions)s") % texts


def _condition_text(condition: object) -> str | None:
    if not isinstance(condition, dict):
        return None
    negated = condition.get("negate") is True
    if "segment" in condition:
        sentence, names = _SENTENCES["segment"][negated], {"values": _quoted(condition["segment"])}
        return sentence % names
    operator, values = condition.get("operator"), _list(condition.get("values"))
    if not values or not isinstance(operator, str):
        return None
    names = {
        "attribute": str(condition.get("attribute")),
        "operator": operator,
        "values": _(" or ").join(map(_quoted, values)),
    }
    if operator in _SENTENCES:
        return _SENTENCES[operator][negated] % names
    text = "%(attribute)s %(operator)s %(values)s" % names  # noqa: UP031 (as the others)
    return _("not (%(condition)s)") % {"condition": text} if negated else text


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
