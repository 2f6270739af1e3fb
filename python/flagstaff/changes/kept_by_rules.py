"""Which users keep another value when a value is set, because rules decide for them."""

from __future__ import annotations

import json

from flagstaff._stored_value_schema import VALUE, is_secret
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import Fields, Row
from flagstaff._words.json_text import is_same_json
from flagstaff._words.rule_parts import ALL, places_of
from flagstaff._words.text import MASK, Text, joined, truncated
from flagstaff.conf import conf
from flagstaff.validators import value_rule_problem

# The length of the value of a rule.
_MAX_LENGTH = 80


def kept_by_rules(row: Row, new: Fields) -> Text | None:
    """Returns which rules give some users another value after a change, or None. Does not query.

    `new` are the fields to write. Without a new value, the users do not expect one.
    """
    if VALUE not in new or not isinstance(row, conf.value_model):
        return None
    rules = new.get(RULES, getattr(row, RULES))
    if rules != [] and (problem := value_rule_problem(rules)):
        return Text(
            "the rules cannot be read, so workers may keep earlier ones, which give users another "
            "value: {problem}",
            problem=problem,
        )
    secret, found = is_secret(row) or bool(new.get("secret")), []
    for place, rule in places_of(rules):
        percent, value = rule.get("rollout_percent", ALL), rule.get(VALUE)
        if percent == 0 or is_same_json(new[VALUE], value):
            continue
        text = MASK if secret else truncated(json.dumps(value, ensure_ascii=False), _MAX_LENGTH)
        shown = {"place": place, "value": text}
        found.append(
            Text("{place} → {value}", **shown)
            if percent == ALL
            else Text("{place} → {value} for {percent} %", **shown, percent=str(percent))
        )
    kept = Text("users for whom a rule decides keep another value: {rules}", rules=joined(found))
    return kept if found else None
