"""The steps of an evaluation, as `explain` shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from flagstaff._engine.explain import ExplainedCondition, ExplainedRule, Explanation
from flagstaff._engine.forced_off import NOTICE, VARIABLE
from flagstaff._tables.bucket_units import USER, VISITOR
from flagstaff._text.rule_text import conditions_text
from flagstaff.cli.support.cells import Column, Record

__all__ = ["STEPS", "Step", "deciding_step", "steps_of", "unit_text"]

_ALL_USERS = 100


@dataclass(frozen=True)
class Step:
    """One condition that an evaluation checks."""

    name: str
    #: Whether the condition is met; None if the evaluation ended before.
    met: bool | None
    #: Whether the result was decided here.
    decides: bool
    why: str
    #: 1 for a condition of a rule, 2 for a condition of a segment that the rule names, else 0.
    level: int = 0

    def as_dict(self) -> Record:
        """Returns a dict for JSON."""
        return asdict(self)


# The place of the rules among the steps. No reason has this name.
_RULES = "rules"

# In the order of evaluation, by the reason of a result that the step decides: the name of the step,
# and what its condition must be for the evaluation to continue.
_STEPS = {
    "ERROR": ("exists", True),
    "DISABLED": ("enabled", True),
    "TARGETING_MATCH": ("allowed", False),
    _RULES: (_RULES, False),
    "STATIC": ("100 %", False),
    "DEFAULT": ("user", True),
    "SPLIT": ("bucket < rollout", None),
}


# What decides in place of the flag's row, in words.
_OVERRIDES = {
    "override_flag": "overridden by a test",
    VARIABLE: NOTICE,
}

# What came of a condition, in words.
_OUTCOMES = {
    "passed": "passed",
    "failed": "failed",
    "missing": "missing",
    "needs_user": "needs the user object",
}


def steps_of(explanation: Explanation, user: str | None) -> list[Step]:
    """Returns all steps; one of them decides. `user` is the user in words, None if anonymous."""
    if explanation.override is not None:
        why = _OVERRIDES[explanation.override]
        return [Step("override", met=True, decides=True, why=why)]
    decided_by_rules = explanation.rule is not None or explanation.error_code == "PARSE_ERROR"
    last = list(_STEPS).index(_RULES if decided_by_rules else explanation.reason)
    steps: list[Step] = []
    for place, reason in enumerate(_STEPS):
        if reason == _RULES:
            steps += _rule_steps(explanation, is_reached=place <= last)
        elif place <= last:
            steps.append(_step(explanation, user, reason, decides=place == last))
        else:
            skipped = _step_name(explanation, reason)
            steps.append(Step(skipped, met=None, decides=False, why=""))
    return steps


def deciding_step(steps: Sequence[Step]) -> str:
    """Returns why the result is as it is, in one line."""
    step = next(step for step in steps if step.decides)
    return f"{step.name} {step.why}" if step.name.startswith("rule") else step.why


def _step(explanation: Explanation, user: str | None, reason: str, *, decides: bool) -> Step:
    name, (_, continues_if) = _step_name(explanation, reason), _STEPS[reason]
    met = explanation.value if continues_if is None else continues_if != decides
    return Step(name, met, decides, _why(explanation, user, reason, met=met))


def _step_name(explanation: Explanation, reason: str) -> str:
    name, _ = _STEPS[reason]
    return _unit(explanation) if name == USER else name


def _unit(explanation: Explanation) -> str:
    """Returns the bucketing unit of the flag."""
    return USER if explanation.bucket_by is None else explanation.bucket_by


def unit_text(explanation: Explanation) -> str:
    """Returns a sentence about the bucket of another unit than the user, or ""."""
    unit, bucket = _unit(explanation), explanation.bucket
    if unit == USER:
        return ""
    found = "which is missing" if bucket is None else f"bucket {bucket}"
    return f" It is bucketed by {unit}, {found}."


def _why(explanation: Explanation, user: str | None, reason: str, *, met: bool) -> str:
    bucket, percent, unit = explanation.bucket, explanation.rollout_percent, _unit(explanation)
    by_unit = "" if unit == USER else f" (by {unit})"
    sentences = {
        "ERROR": ("the flag exists", "there is no flag with this key, or its row is invalid"),
        "DISABLED": ("the flag is enabled", "the flag is disabled for all users"),
        "TARGETING_MATCH": (
            "the user is an allowed user",
            "the user is not an allowed user" if user else "there is no user",
        ),
        "STATIC": (f"the rollout is {percent} %", f"the rollout is {percent} %"),
        "DEFAULT": (
            f"the user is {user}" if unit == USER else f"the bucket of this {unit} is {bucket}",
            _missing(unit),
        ),
        "SPLIT": (
            f"{bucket} is below {percent}{by_unit}",
            f"{bucket} is not below {percent}{by_unit}",
        ),
    }
    return sentences[reason][0 if met else 1]


def _missing(unit: str) -> str:
    """Returns what is missing, and how to pass it."""
    if unit == USER:
        return "there is no user"
    if unit == VISITOR:
        return "there is no visitor in the context (pass --context visitor=ID)"
    return f"{unit} is missing (pass --context {unit}=VALUE)"


def _rule_steps(explanation: Explanation, *, is_reached: bool) -> Iterator[Step]:
    """Yields a step for each rule that was checked, with its conditions, and for each other rule.

    If the rules cannot be read, yields one step for all.
    """
    if explanation.error_code == "PARSE_ERROR":
        why = (
            f"cannot be read, so the result is the default of the call: {explanation.rules_problem}"
        )
        yield Step(_RULES, met=False, decides=True, why=why)
    for rule in explanation.rules:
        name = f"rule {rule.number}"
        if is_reached and rule.number <= (explanation.rule or rule.number):
            yield Step(name, rule.decides, rule.decides, _rule_text(rule, explanation))
            for number, condition in enumerate(rule.conditions, start=1):
                yield from _condition_steps(condition, number, level=1)
        else:
            yield Step(name, met=None, decides=False, why="")


def _rule_text(rule: ExplainedRule, explanation: Explanation) -> str:
    name = "" if rule.name is None else f"{json.dumps(rule.name, ensure_ascii=False)}, "
    percent, bucket, unit = rule.rollout_percent, explanation.bucket, _unit(explanation)
    by_unit = "" if unit == USER else f" (by {unit})"
    if not rule.decides:
        outcome = "does not match"
    elif percent >= _ALL_USERS:
        outcome = "matches"
    elif percent == 0:
        outcome = "matches, so the flag is off"
    elif bucket is None:
        outcome = f"matches, but {_missing(unit)}, so the flag is off"
    else:
        word = "below" if bucket < percent else "not below"
        outcome = f"matches; {bucket} is {word} {percent}{by_unit}"
    return f"{name}{percent} %: {outcome}"


def _condition_steps(condition: ExplainedCondition, number: int, *, level: int) -> Iterator[Step]:
    """Yields a step for the condition, and for each condition of the segment that it names."""
    outcome = _OUTCOMES[condition.outcome]
    is_unknown = "segment" in condition.condition and not condition.conditions
    sentence = "there is no such segment" if is_unknown else ""
    text = ", ".join(filter(None, [conditions_text([condition.condition]), sentence]))
    met = condition.outcome == "passed"
    yield Step(f"condition {number}", met, decides=False, why=f"{outcome}: {text}", level=level)
    for inner_number, inner in enumerate(condition.conditions, start=1):
        yield from _condition_steps(inner, inner_number, level=level + 1)


def _name_text(record: Record) -> str:
    return f"{'  ' * record['level']}{record['name']}"


def _style(record: Record) -> str | None:
    return "MIGRATE_LABEL" if record["decides"] else None


#: The table of the steps.
STEPS = (
    Column("decides", lambda record: "▸" if record["decides"] else "", header=""),
    Column("name", _name_text, header="STEP", style=_style),
    Column("met", header="", style=_style),
    Column("why", header="", style=_style, truncate=True),
)
