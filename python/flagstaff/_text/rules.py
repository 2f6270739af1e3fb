"""The parts of rules and conditions, and both as sentences for terminals, messages and pages.

Ignores what is not a rule: SQL can write any JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import SequenceMatcher
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, cast

from flagstaff._text import Sentence, joined, localized, say, truncated

#: The core has the same for its own problems.
IN_PLACES = say("{places}: {problem}")

#: The percentage of a rule without one.
ALL = 100
_GROUPS = "groups"

# PostgreSQL orders names by length, which puts the values before the attribute.
_ORDER = (
    "name",
    "segment",
    "flag",
    "is",
    "bucket",
    "attribute",
    "operator",
    "values",
    "negate",
    "conditions",
    "rollout_percent",
    "value",
)

# The length of a rule's name in a message: SQL can write names of any length.
_MAX_NAME = 102

# The sentence of each operator, and of its negation.
_SENTENCES = {
    "in": say("{attribute} is {values}"),
    "not in": say("{attribute} is not {values}"),
    "contains": say("{attribute} contains {values}"),
    "not contains": say("{attribute} does not contain {values}"),
    "startswith": say("{attribute} starts with {values}"),
    "not startswith": say("{attribute} does not start with {values}"),
    "endswith": say("{attribute} ends with {values}"),
    "not endswith": say("{attribute} does not end with {values}"),
    "regex": say("{attribute} matches {values}"),
    "not regex": say("{attribute} does not match {values}"),
    "lt": say("{attribute} is less than {values}"),
    "not lt": say("{attribute} is not less than {values}"),
    "lte": say("{attribute} is at most {values}"),
    "not lte": say("{attribute} is not at most {values}"),
    "gt": say("{attribute} is more than {values}"),
    "not gt": say("{attribute} is not more than {values}"),
    "gte": say("{attribute} is at least {values}"),
    "not gte": say("{attribute} is not at least {values}"),
    "version_lt": say("{attribute} is a version before {values}"),
    "not version_lt": say("{attribute} is not a version before {values}"),
    "version_lte": say("{attribute} is version {values} or before"),
    "not version_lte": say("{attribute} is not version {values} or before"),
    "version_eq": say("{attribute} is version {values}"),
    "not version_eq": say("{attribute} is not version {values}"),
    "version_gt": say("{attribute} is a version after {values}"),
    "not version_gt": say("{attribute} is not a version after {values}"),
    "version_gte": say("{attribute} is version {values} or later"),
    "not version_gte": say("{attribute} is not version {values} or later"),
    "groups": say("in group {values}"),
    "not groups": say("not in group {values}"),
    "segment": say("in segment {values}"),
    "not segment": say("not in segment {values}"),
    "flag": say("flag {flag} is on"),
    "not flag": say("flag {flag} is off"),
    "bucket lt": say("in the first {values} % of the bucket {bucket}"),
    "bucket gte": say("not in the first {values} % of the bucket {bucket}"),
    "isnull": say("{attribute} is missing"),
    "not isnull": say("{attribute} is present"),
}
# Workers read no more. Only SQL can write more, and each is compared with each.
_MAX_RULES = 100
# What JSON of another form raises: SQL can write any.
_OTHER_FORM = (AttributeError, KeyError, TypeError)

#: Returns the names of the objects whose primary keys an attribute holds: one for each value.
ObjectNames: TypeAlias = Callable[[str, Sequence[object]], Sequence[str | None]]


def _no_names(_attribute: str, values: Sequence[object]) -> Sequence[str | None]:
    return [None] * len(values)


_object_names: ContextVar[ObjectNames] = ContextVar("flagstaff_names", default=_no_names)


@contextmanager
def naming(object_names: ObjectNames = _no_names) -> Iterator[None]:
    """Writes the names that a reader may see into the sentences of the block, beside the keys.

    What is stored or sent has none: whoever reads it may not see them.
    """
    token = _object_names.set(object_names)
    try:
        yield
    finally:
        _object_names.reset(token)


def places_of(rules: object) -> Iterator[tuple[Sentence, dict[str, Any]]]:
    """Yields the rules, each with its place, such as 'rule 2 ("beta")'."""
    for number, rule in enumerate(objects_in(rules), start=1):
        place, name = say("rule {number}", number=str(number)), rule.get("name")
        if isinstance(name, str):
            shown = truncated(json.dumps(name, ensure_ascii=False), _MAX_NAME)
            place = say("rule {number} ({name})", number=str(number), name=shown)
        yield place, rule


def conditions_of(rules: object) -> Iterator[tuple[Sentence, dict[str, Any]]]:
    """Yields the conditions of rules, each with the place of its rule."""
    for place, rule in places_of(rules):
        for condition in objects_in(rule.get("conditions")):
            yield place, condition


def new_conditions(
    rules: object, stored: object = None
) -> Iterator[tuple[Sentence | None, dict[str, Any]]]:
    """Yields the conditions that are not `stored`, each with the place of its rule.

    The conditions of a segment, in place of rules, have no place.
    """
    # As JSON: for Python, 1 equals true.
    stored_texts = {
        json.dumps(condition, sort_keys=True) for _place, condition in _placed_conditions(stored)
    }
    for place, condition in _placed_conditions(rules):
        if json.dumps(condition, sort_keys=True) not in stored_texts:
            yield place, condition


def _placed_conditions(rules: object) -> Iterator[tuple[Sentence | None, dict[str, Any]]]:
    yield from conditions_of(rules)
    yield from ((None, condition) for condition in objects_in(rules))


def partial_rules(rules: object, rollout: int) -> Iterator[tuple[Sentence, int]]:
    """Yields the places of the rules that give less than a rollout, with their percentages."""
    for place, rule in places_of(rules):
        percent = rule.get("rollout_percent", ALL)
        if isinstance(percent, int) and percent < rollout:
            yield place, percent


def named_segments(rules: object) -> Iterator[tuple[str, Sentence]]:
    """Yields the segments that rules name, each with its place."""
    for place, condition in conditions_of(rules):
        if isinstance(key := condition.get("segment"), str):
            yield key, place


def named_flags(rules: object) -> Iterator[tuple[str, Sentence | None]]:
    """Yields the flags that rules name, or conditions in place of rules, each with its place."""
    for place, condition in _placed_conditions(rules):
        if isinstance(key := condition.get("flag"), str):
            yield key, place


def named_buckets(
    rules: object, segments: Mapping[str, object] | None = None
) -> Iterator[tuple[str, Sentence | None, int]]:
    """Yields the buckets that rules name, each with its place and the percentage of its rule.

    Also those of `segments`, which are conditions by key. Conditions in place of rules have no
    place, and all users.
    """
    for place, rule in places_of(rules):
        percent = rule.get("rollout_percent", ALL)
        for condition in objects_in(rule.get("conditions")):
            if isinstance(name := condition.get("bucket"), str):
                yield name, place, percent
            if segments and isinstance(key := condition.get("segment"), str):
                at = say("{place}, segment {segment}", place=place, segment=_quoted(key))
                of_segment = named_buckets(segments.get(key))
                yield from ((name, at, percent) for name, _place, _percent in of_segment)
    for condition in objects_in(rules):
        if isinstance(name := condition.get("bucket"), str):
            yield name, None, ALL


def groups_of(rules: object) -> set[str]:
    """Returns the names of the groups that rules name, or conditions in place of rules."""
    return {
        value
        for _, condition in _placed_conditions(rules)
        # Other operators have patterns, or parts of names.
        if condition.get("attribute") == _GROUPS and condition.get("operator") == "in"
        for value in _listed(condition.get("values"))
        if isinstance(value, str)
    }


def reads_groups(rules: object) -> bool:
    """Whether rules, or conditions in place of rules, depend on groups."""
    return any(condition.get("attribute") == _GROUPS for _, condition in _placed_conditions(rules))


def can_grant(rules: object) -> bool:
    """Whether a rule can give the flag to a user. True if the rules cannot be read."""
    if isinstance(rules, list | tuple):
        return any(rule.get("rollout_percent") != 0 for rule in objects_in(rules))
    return rules is not None


def objects_in(value: object) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list, and {} for anything else in it, which keeps the numbers."""
    return (item if isinstance(item, dict) else {} for item in _listed(value))


def _listed(value: object) -> Sequence[Any]:
    # json.dumps writes a tuple as a list.
    return value if isinstance(value, list | tuple) else ()


def problem_at(place: Sentence, problem: Sentence) -> Sentence:
    """Returns a problem with its place before it."""
    return say(IN_PLACES, places=joined([place]), problem=problem)


def sentence(problem: str) -> str:
    """Returns a problem in the reader's language as a sentence."""
    text = localized(problem)
    return f"{text[0].upper()}{text[1:]}."


def in_reading_order(rules: Any) -> Any:
    """Returns rules or conditions with the members of each object as people write them."""
    if isinstance(rules, list):
        return [in_reading_order(item) for item in rules]
    if not isinstance(rules, dict):
        return rules
    names = sorted(rules, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return {name: in_reading_order(rules[name]) for name in names}


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
        return say("no rules").local
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
    # A rule that was changed keeps its name, or has none. Another one may have its place.
    for of_rule in (attrgetter("name"), attrgetter("place")):
        for rule in [*new_only]:
            earlier = (earlier for earlier in old_only if of_rule(earlier) == of_rule(rule))
            if same := next(earlier, None):
                changes.append(RuleChange(same.text, rule.text, f"{same.text} → {rule.text}"))
                old_only.remove(same)
                new_only.remove(rule)
    removed, added = say("removed {rule}"), say("added {rule}")
    changes += [RuleChange(rule.text, "", say(removed, rule=rule.text).local) for rule in old_only]
    changes += [RuleChange("", rule.text, say(added, rule=rule.text).local) for rule in new_only]
    for rule in moved:
        text = say("moved to place {number}: {rule}", number=rule.place, rule=rule.sentence).local
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
        numbered = _named(say("rule {number}", number=place).local, text)
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


def rule_parts(
    rules: object, max_values: int | None = None
) -> list[tuple[str, str, object]] | None:
    """Returns the name or "", the conditions as a sentence, and the percentage of each rule.

    Returns None if these are not rules of a flag.
    """
    try:
        return [
            (
                rule.get("name", ""),
                _conditions_text(rule["conditions"], max_values),
                rule.get("rollout_percent", ALL),
            )
            for rule in (_items(rules) if rules != [] else [])
        ]
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
        text = say("{value} for {percent} % of the others", **texts).local
    else:
        texts["conditions"] = _conditions_text(conditions, max_values)
        if "value" not in rule:
            text = say("{percent} % if {conditions}", **texts).local
        elif percent == ALL:
            text = say("{value} if {conditions}", **texts).local
        else:
            text = say("{value} for {percent} % if {conditions}", **texts).local
    return _named(_quoted(rule["name"]), text) if "name" in rule else text


def _named(name: str, text: str) -> str:
    return say("{name}: {rule}", name=name, rule=text).local


def _conditions_text(conditions: object, max_values: int | None) -> str:
    return say(" and ").local.join(
        _condition_text(condition, max_values) for condition in _items(conditions)
    )


def _condition_text(condition: Any, max_values: int | None) -> str:
    negated = condition.get("negate") is True
    prefix = "not " if negated else ""
    if "segment" in condition:
        return say(_SENTENCES[f"{prefix}segment"], values=_quoted(condition["segment"])).local
    if "flag" in condition:
        prefix = "" if condition["is"] else "not "
        return say(_SENTENCES[f"{prefix}flag"], flag=_quoted(condition["flag"])).local
    if "bucket" in condition:
        # Without a unit, both are false: neither is the negation of the other.
        [bound] = condition["values"]
        sentence_of = _SENTENCES[f"bucket {condition['operator']}"]
        return say(sentence_of, bucket=_quoted(condition["bucket"]), values=_quoted(bound)).local
    operator, values = condition["operator"], _items(condition["values"])
    names = {
        "attribute": str(condition.get("attribute")),
        "operator": str(operator),
        "values": _values_text(_named_values(condition), max_values, negated=negated),
    }
    if operator == "isnull":
        return say(_SENTENCES["not isnull" if values[0] is negated else "isnull"], **names).local
    if operator == "in" and condition.get("attribute") == "groups":
        operator = "groups"
    if f"not {operator}" in _SENTENCES:
        return say(_SENTENCES[f"{prefix}{operator}"], **names).local
    text = " ".join(names.values())
    return say("not ({condition})", condition=text).local if negated else text


def _named_values(condition: Any) -> list[str]:
    """Returns the values of a condition; those that are keys of objects as `"acme" (7)`."""
    values = _items(condition["values"])
    if condition["operator"] != "in":
        return [*map(_quoted, values)]
    names = _object_names.get()(str(condition.get("attribute")), values)
    return [
        _quoted(value) if name is None else f"{_quoted(name)} ({value})"
        for value, name in zip(values, names, strict=True)
    ]


def _values_text(texts: list[str], max_values: int | None, *, negated: bool) -> str:
    limit = max_values or len(texts)
    shown, count = texts[:limit], len(texts) - limit
    if negated:
        items = say(" nor ").local.join(shown)
        more = say("{items} nor {count} more", "{items} nor {count} more")
    else:
        items = say(" or ").local.join(shown)
        more = say("{items} or {count} more", "{items} or {count} more")
    return say(more, count=count, items=items).local if count > 0 else items
