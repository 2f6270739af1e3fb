"""The steps of an evaluation in words, as the terminal and the admin show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeAlias

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._engine.explain import (
    ExplainedCondition,
    ExplainedRule,
    Explanation,
    ValueExplanation,
)
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._tables.bucket_units import USER, VISITOR
from flagstaff._words.rule_text import conditions_text
from flagstaff._words.text import localized

#: Returns how to pass an attribute, such as "visitor=ID", to an evaluation.
Hint: TypeAlias = Callable[[str], str]

_ALL_USERS = 100


@dataclass(frozen=True)
class EvaluationStep:
    """One condition that an evaluation checks."""

    name: str
    #: Whether the condition is met; None if the evaluation ended before.
    met: bool | None
    #: Whether the result was decided here.
    decides: bool
    why: str
    #: What came of a condition, in words; empty for other steps.
    outcome: str = ""
    #: 1 for a condition of a rule, 2 for a condition of a segment that the rule names, else 0.
    level: int = 0

    def as_dict(self) -> dict[str, object]:
        """Returns a dict for JSON."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The outcome and why, in one line."""
        return f"{self.outcome}: {self.why}" if self.outcome else self.why


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
    "override_flag": gettext_lazy("overridden by a test"),
    "override_value": gettext_lazy("overridden by a test"),
    VARIABLE: gettext_lazy("forced off in this process by %(variable)s"),
}

# What came of a condition, in words.
_OUTCOMES = {
    "passed": gettext_lazy("passed"),
    "failed": gettext_lazy("failed"),
    "missing": gettext_lazy("missing"),
    "needs_user": gettext_lazy("needs the user object"),
    "type_mismatch": gettext_lazy("cannot be compared with the values"),
}


def steps_of(explanation: Explanation, user: str | None, hint: Hint) -> list[EvaluationStep]:
    """Returns all steps; one of them decides. `user` is the user in words, None if anonymous."""
    if explanation.override is not None:
        return [override_step(explanation.override)]
    decided_by_rules = explanation.rule is not None or explanation.error_code == "PARSE_ERROR"
    last = list(_STEPS).index(_RULES if decided_by_rules else explanation.reason)
    missing = _missing(unit_of(explanation), hint)
    steps: list[EvaluationStep] = []
    for place, reason in enumerate(_STEPS):
        if reason == _RULES:
            steps += _unreadable_step(explanation)
            steps += rule_steps(explanation, hint, is_reached=place <= last)
        elif place <= last:
            steps.append(_step(explanation, user, missing, reason, decides=place == last))
        else:
            skipped = _step_name(explanation, reason)
            steps.append(EvaluationStep(skipped, met=None, decides=False, why=""))
    return steps


def override_step(override: str) -> EvaluationStep:
    """Returns the only step of an evaluation that an override decides."""
    why = _OVERRIDES[override] % {"variable": VARIABLE}
    return EvaluationStep("override", met=True, decides=True, why=why)


def why_unreadable(explanation: Explanation | ValueExplanation) -> str:
    """Returns that the user could not be read, or an empty text."""
    if explanation.error_code != "GENERAL":
        return ""
    return _("the database failed while the user or an attribute was read")


def unit_of(explanation: Explanation | ValueExplanation) -> str:
    """Returns the bucketing unit of the flag or the value."""
    return USER if explanation.bucket_by is None else explanation.bucket_by


def _step(
    explanation: Explanation, user: str | None, missing: str, reason: str, *, decides: bool
) -> EvaluationStep:
    name, (_name, continues_if) = _step_name(explanation, reason), _STEPS[reason]
    met = explanation.value if continues_if is None else continues_if != decides
    return EvaluationStep(name, met, decides, _why(explanation, user, missing, reason, met=met))


def _step_name(explanation: Explanation, reason: str) -> str:
    name, _continues_if = _STEPS[reason]
    return unit_of(explanation) if name == USER else name


def _why(
    explanation: Explanation, user: str | None, missing: str, reason: str, *, met: bool
) -> str:
    unit = unit_of(explanation)
    texts: dict[str, object] = {"unit": unit, "user": user}
    texts |= {"bucket": explanation.bucket, "percent": explanation.rollout_percent}
    rollout = _("the rollout is %(percent)s %%")
    known = (
        _("the user is %(user)s")
        if unit == USER
        else _("the bucket of this %(unit)s is %(bucket)s")
    )
    not_allowed = _("the user is not an allowed user") if user else _("there is no user")
    missing_row = _("there is no flag with this key, or its row is invalid")
    sentences = {
        "ERROR": (_("the flag exists"), why_unreadable(explanation) or missing_row),
        "DISABLED": (_("the flag is enabled"), _("the flag is disabled for all users")),
        "TARGETING_MATCH": (_("the user is an allowed user"), not_allowed),
        "STATIC": (rollout, rollout),
        "DEFAULT": (known, None),
        "SPLIT": (_below(unit), _not_below(unit)),
    }
    sentence = sentences[reason][0 if met else 1]
    # Without placeholders: it has the name of an attribute.
    return missing if sentence is None else sentence % texts


def _below(unit: str) -> str:
    if unit == USER:
        return _("%(bucket)s is below %(percent)s")
    return _("%(bucket)s is below %(percent)s (by %(unit)s)")


def _not_below(unit: str) -> str:
    if unit == USER:
        return _("%(bucket)s is not below %(percent)s")
    return _("%(bucket)s is not below %(percent)s (by %(unit)s)")


def _missing(unit: str, hint: Hint) -> str:
    """Returns what is missing, and how to pass it."""
    if unit == USER:
        return _("there is no user")
    if unit == VISITOR:
        return _("there is no visitor in the context") + hint("visitor=ID")
    return _("%(unit)s is missing") % {"unit": unit} + hint(f"{unit}=VALUE")


def _unreadable_step(explanation: Explanation) -> Iterator[EvaluationStep]:
    """Yields one step for all rules of a flag if they cannot be read."""
    if explanation.error_code == "PARSE_ERROR":
        text = _("cannot be read, so the result is the default of the call: %(problem)s")
        why = text % {"problem": localized(explanation.rules_problem or "")}
        yield EvaluationStep(_RULES, met=False, decides=True, why=why)


def rule_steps(
    explanation: Explanation | ValueExplanation, hint: Hint, *, is_reached: bool = True
) -> Iterator[EvaluationStep]:
    """Yields a step for each rule, and for each condition of those that were checked."""
    for rule in explanation.rules:
        name = f"rule {rule.number}"
        if is_reached and rule.number <= (explanation.rule or rule.number):
            text = _rule_text(rule, explanation, hint)
            yield EvaluationStep(name, rule.decides, rule.decides, text)
            for number, condition in enumerate(rule.conditions, start=1):
                yield from _condition_steps(condition, number, level=1)
        else:
            yield EvaluationStep(name, met=None, decides=False, why="")


def _rule_text(rule: ExplainedRule, explanation: Explanation | ValueExplanation, hint: Hint) -> str:
    name = "" if rule.name is None else f"{json.dumps(rule.name, ensure_ascii=False)}, "
    return f"{name}{rule.rollout_percent} %: {_rule_outcome(rule, explanation, hint)}"


def _rule_outcome(
    rule: ExplainedRule, explanation: Explanation | ValueExplanation, hint: Hint
) -> str:
    percent, bucket, unit = rule.rollout_percent, explanation.bucket, unit_of(explanation)
    is_flag = isinstance(explanation, Explanation)
    if not rule.decides:
        return _("does not match")
    if percent >= _ALL_USERS:
        return _("matches")
    if percent == 0:
        own = _("matches, so the value itself is the result")
        return _("matches, so the flag is off") if is_flag else own
    if bucket is None:
        own = _("matches, but %(problem)s, so the value itself is the result")
        text = _("matches, but %(problem)s, so the flag is off") if is_flag else own
        return text % {"problem": _missing(unit, hint)}
    comparison = _below(unit) if bucket < percent else _not_below(unit)
    texts = {"bucket": bucket, "percent": percent, "unit": unit}
    return _("matches; %(comparison)s") % {"comparison": comparison % texts}


def _condition_steps(
    condition: ExplainedCondition, number: int, *, level: int
) -> Iterator[EvaluationStep]:
    """Yields a step for the condition, and for each condition of the segment that it names."""
    outcome = str(_OUTCOMES[condition.outcome])
    is_unknown = "segment" in condition.condition and not condition.conditions
    sentence = _("there is no such segment") if is_unknown else ""
    text = ", ".join(filter(None, [conditions_text([condition.condition]), sentence]))
    met = condition.outcome == "passed"
    name = f"condition {number}"
    yield EvaluationStep(name, met, decides=False, why=text, outcome=outcome, level=level)
    for inner_number, inner in enumerate(condition.conditions, start=1):
        yield from _condition_steps(inner, inner_number, level=level + 1)
