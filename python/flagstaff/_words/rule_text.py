"""Rules and conditions as sentences, for terminals, messages and pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple, cast

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
# Workers read no more. Only SQL can write more, and each is compared with each.
_MAX_RULES = 100
# What JSON of another form raises: SQL can write any.
_OTHER_FORM = (AttributeError, KeyError, TypeError)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Rule(NamedTuple):
    """A rule in a list: its place, from 1 on, its sentence, and the same with its number."""

    place: int
    name: object
    json: str
    sentence: str
    text: str


class RuleChange(NamedTuple):
    """A rule before and after a change, empty for none, and both in one text."""

    old: str
    new: str
    text: str


def rules_text(rules: object, max_values: int | None = None) -> str | None:
    """Returns the sentences of rules in one line; None if this is not a list of rules.

    `max_values` is the number of values that a condition shows; None shows all.
    """
    if rules == []:
        return _("no rules")
    readable = _rules(rules, max_values)
    return "; ".join(rule.text for rule in readable) if readable else None


def rule_changes(
    old: object, new: object, max_values: int | None = None
) -> list[RuleChange] | None:
    """Returns what differs between two lists of rules; None if they are no such lists, or long."""
    before, after = _rules(old, max_values), _rules(new, max_values)
    if before is None or after is None or max(len(before), len(after)) > _MAX_RULES:
        return None
    old_only, new_only = _without(before, after), _without(after, before)
    moved = _moved(
        [rule for rule in before if rule not in old_only],
        [rule for rule in after if rule not in new_only],
    )
    changes = []
    for rule in [*new_only]:
        # A rule that was changed keeps its name, or has none.
        if same := next((earlier for earlier in old_only if earlier.name == rule.name), None):
            changes.append(RuleChange(same.text, rule.text, f"{same.text} → {rule.text}"))
            old_only.remove(same)
            new_only.remove(rule)
    removed, added = _("removed %(rule)s"), _("added %(rule)s")
    changes += [RuleChange(rule.text, "", removed % {"rule": rule.text}) for rule in old_only]
    changes += [RuleChange("", rule.text, added % {"rule": rule.text}) for rule in new_only]
    for rule in moved:
        values = {"number": rule.place, "rule": rule.sentence}
        text = _("moved to place %(number)d: %(rule)s") % values
        changes.append(RuleChange(rule.sentence, text, text))
    return changes


def _rules(rules: object, max_values: int | None) -> list[_Rule] | None:
    """Returns the rules of a list; None if this is not a list of rules."""
    texts = rule_texts(rules, max_values)
    if texts is None:
        return None
    readable = []
    for place, (rule, text) in enumerate(zip(cast("list[Any]", rules), texts, strict=True), 1):
        name = rule.get("name")
        numbered = _named(_("rule %(number)d") % {"number": place}, text)
        # As JSON: for Python, 1 equals true.
        stored = json.dumps(rule, sort_keys=True)
        readable.append(_Rule(place, name, stored, text, text if "name" in rule else numbered))
    return readable


def _without(rules: Sequence[_Rule], others: Sequence[_Rule]) -> list[_Rule]:
    """Returns the rules that the other list does not have, or not as often."""
    remaining, missing = Counter(rule.json for rule in others), []
    for rule in rules:
        remaining[rule.json] -= 1
        if remaining[rule.json] < 0:
            missing.append(rule)
    return missing


def _moved(before: Sequence[_Rule], after: Sequence[_Rule]) -> list[_Rule]:
    """Returns the rules of `after`, which are those of `before`, that have another order."""
    old, new = ([rule.json for rule in side] for side in (before, after))
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    still = {block.b + number for block in blocks for number in range(block.size)}
    return [rule for number, rule in enumerate(after) if number not in still]


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
    return _(" and ").join(
        _condition_text(condition, max_values) for condition in _items(conditions)
    )


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
