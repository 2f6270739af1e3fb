"""Evaluation details: the results of `flag_enabled` and `get_value`, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from flagstaff import _core
from flagstaff._words.core_messages import message_of
from flagstaff._words.message import Message
from flagstaff.typing import Context, UserLike


@dataclass(frozen=True)
class ExplainedCondition:
    """What came of a condition of a rule."""

    #: The condition as it is stored: attribute, operator and values, or a segment.
    condition: dict[str, Any]
    #: "passed"; "failed"; "missing" if the attribute or segment is missing; "needs_user" if the
    #: attribute is one of the user object, and the caller has passed a primary key;
    #: "type_mismatch" if no value can match an attribute of this type.
    outcome: str
    #: The conditions of the segment that it names.
    conditions: tuple[ExplainedCondition, ...] = ()


@dataclass(frozen=True)
class ExplainedRule:
    """What came of a rule."""

    #: Its position, 1 for the first rule.
    number: int
    name: str | None
    rollout_percent: int
    #: Whether this rule decided the result.
    decides: bool
    #: All its conditions, also those after the first one that is false.
    conditions: tuple[ExplainedCondition, ...]


@dataclass(frozen=True)
class Explanation:
    """The result of an evaluation, with its reason."""

    key: str
    #: What `flag_enabled` returns, with False for its default.
    value: bool
    #: DISABLED, TARGETING_MATCH, STATIC, DEFAULT, SPLIT or ERROR.
    reason: str
    #: If the reason is ERROR: PROVIDER_NOT_READY, FLAG_NOT_FOUND, PARSE_ERROR for rules that cannot
    #: be read, or GENERAL for a user or an attribute, because the database failed.
    error_code: str | None
    #: The bucket of the user or of the flag's other unit, 0 to 99; None if the unit is missing.
    bucket: int | None
    #: The flag's own rollout in percent; None if there is no flag, and with an override.
    rollout_percent: int | None
    #: The flag's bucketing unit: "user", "visitor", or an attribute; None like `rollout_percent`.
    bucket_by: str | None = None
    #: "FLAGSTAFF_FORCE_OFF" if the environment of this process decides in place of the flag's row,
    #: "override_flag" if a test does, else None.
    override: str | None = None
    #: The number and name of the rule that decided.
    rule: int | None = None
    rule_name: str | None = None
    #: All rules of the flag.
    rules: tuple[ExplainedRule, ...] = ()
    #: Why the flag's rules cannot be read, or None. Then its last good rules decide; without any,
    #: the error code is PARSE_ERROR.
    rules_problem: Message | None = None


def explain(key: str, user: UserLike = None, *, context: Context = None) -> Explanation:
    """Returns the result of `flag_enabled(key, user, context=context)`, and why.

    It runs the same code as `flag_enabled`. It reads the user, even if the result does not depend
    on it, unless there is an override. Raises TypeError if `user` or `context` has a wrong type.
    Does not block.
    """
    return explanation_of(key, _core.current(key).explain(key, user, context=context))


def explanation_of(key: str, found: dict[str, Any]) -> Explanation:
    """Returns what the extension found, as an `Explanation`."""
    rules = explained_rules(*(found["rules"] or ("[]", [])))
    problem = found["rules_problem"]
    deciding = next((rule for rule in rules if rule.decides), None)
    return Explanation(
        key,
        found["value"],
        found["reason"],
        found["error_code"],
        found["bucket"],
        found["rollout_percent"],
        found["bucket_by"],
        found["overridden_by"],
        rule=deciding.number if deciding else None,
        rule_name=deciding.name if deciding else None,
        rules=rules,
        rules_problem=problem and message_of(problem),
    )


@dataclass(frozen=True)
class ValueExplanation:
    """The result of `get_value`, with its reason."""

    key: str
    #: What `get_value` returns, with None for its default. Not in `repr`, which logs have: it may
    #: be secret.
    value: Any = field(repr=False)
    #: STATIC for a value without rules or with an override, TARGETING_MATCH or SPLIT if a rule
    #: decided, DEFAULT if none did, or if its percentage needs a unit and there is none, or ERROR.
    reason: str
    #: If the reason is ERROR: PROVIDER_NOT_READY, FLAG_NOT_FOUND, or GENERAL for a user or an
    #: attribute that cannot be read, because the database failed.
    error_code: str | None
    #: Whether the result is the value itself, not that of a rule or an override.
    has_own: bool
    #: The bucket of the user or of the value's other unit, 0 to 99; None if the unit is missing.
    bucket: int | None = None
    #: What the percentages bucket by: "user", "visitor", or an attribute; None without rules.
    bucket_by: str | None = None
    #: "override_value" if a test decides in place of the value's row, else None.
    override: str | None = None
    #: The number and name of the rule that decided.
    rule: int | None = None
    rule_name: str | None = None
    #: All rules of the value, without their results.
    rules: tuple[ExplainedRule, ...] = ()
    #: Why the value's rules cannot be read, or None. Then its last good rules decide, if there are
    #: any.
    rules_problem: Message | None = None


def explain_value(key: str, user: UserLike = None, *, context: Context = None) -> ValueExplanation:
    """Returns the result of `get_value(key, user=user, context=context)`, and why.

    It runs the same code as `get_value`. It reads the user, even if the result does not depend on
    it, if the value has rules. Raises TypeError if `user` or `context` has a wrong type. Does not
    block.
    """
    found = _core.current(key).explain_value(key, user=user, context=context)
    rules = explained_rules(*(found.pop("rules") or ("[]", [])))
    problem, number = found.pop("rules_problem"), found.pop("rule")
    deciding = next((rule for rule in rules if rule.decides), None)
    return ValueExplanation(
        key,
        override=found.pop("overridden_by"),
        rule=number,
        rule_name=deciding.name if deciding else None,
        rules=rules,
        rules_problem=problem and message_of(problem),
        **found,
    )


def explained_rules(text: str, outcomes: list[Any]) -> tuple[ExplainedRule, ...]:
    """Returns the rules of a JSON text with what came of each, which has the same order."""
    return tuple(
        ExplainedRule(
            number,
            rule.get("name"),
            rule.get("rollout_percent", 100),
            decides,
            tuple(map(_condition, rule["conditions"], conditions)),
        )
        for number, (rule, (decides, conditions)) in enumerate(
            zip(json.loads(text), outcomes, strict=True), start=1
        )
    )


def _condition(condition: dict[str, Any], found: tuple[str, Any]) -> ExplainedCondition:
    outcome, segment = found
    if segment is None:
        return ExplainedCondition(condition, outcome)
    text, outcomes = segment
    return ExplainedCondition(
        condition, outcome, tuple(map(ExplainedCondition, json.loads(text), outcomes))
    )
