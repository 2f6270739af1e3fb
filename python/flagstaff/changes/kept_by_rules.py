"""Which users keep another value when a value is set, because rules decide for them."""

from __future__ import annotations

import json

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import Fields, Row
from flagstaff._words.json_text import canonical_json
from flagstaff._words.rule_parts import ALL, places_of
from flagstaff._words.text import MASK, Text, joined, truncated
from flagstaff.conf import conf
from flagstaff.validators import value_rule_problem

_VALUE = "value"
# The length of the value of a rule.
_MAX_LENGTH = 80


def kept_by_rules(row: Row, new: Fields) -> Text | None:
    """Returns which rules give some users another value after a change, or None. Does not query.

    `new` are the fields to write. Without a new value, the users do not expect one.
    """
    if _VALUE not in new or not isinstance(row, conf.value_model):
        return None
    rules = new[RULES] if RULES in new else getattr(row, RULES)
    if rules != [] and (problem := value_rule_problem(rules)):
        return Text(
            "the rules cannot be read, so workers may keep earlier ones, which give users another "
            "value: {problem}",
            problem=problem,
        )
    secret = is_secret(row) or bool(new.get("secret"))
    found = []
    for place, rule in places_of(rules):
        percent, value = rule.get("rollout_percent", ALL), rule.get(_VALUE)
        if percent == 0 or _is_same(new[_VALUE], value):
            continue
        text = truncated(json.dumps(value, ensure_ascii=False), _MAX_LENGTH)
        shown = {"place": place, "value": MASK if secret else text}
        found.append(
            Text("{place} → {value}", **shown)
            if percent == ALL
            else Text("{place} → {value} for {percent} %", **shown, percent=str(percent))
        )
    return (
        Text("users for whom a rule decides keep another value: {rules}", rules=joined(found))
        if found
        else None
    )


def _is_same(own: object, of_rule: object) -> bool:
    """Whether a rule gives the same JSON as the value itself."""
    try:
        return canonical_json(own) == canonical_json(of_rule)
    except (TypeError, ValueError, RecursionError):  # To be rejected when it is validated.
        return False
