"""The steps of the evaluation of a value in words: each rule, then the value itself."""

from __future__ import annotations

from django.utils.translation import gettext as _

from flagstaff._engine.explain import ValueExplanation
from flagstaff._engine.steps import (
    EvaluationStep,
    Hint,
    override_step,
    rule_steps,
    why_unreadable,
)
from flagstaff._words.text import localized

# What the steps are about, in the order of the evaluation.
_EXISTS, _RULES, _OWN = "exists", "rules", "the value itself"


def steps_of_value(explanation: ValueExplanation, hint: Hint) -> list[EvaluationStep]:
    """Returns all steps; one of them decides. No step shows a value, which may be secret."""
    if explanation.override is not None:
        return [override_step(explanation.override)]
    if explanation.error_code is not None:
        missing_row = _("there is no value with this key, or its row is invalid")
        why = why_unreadable(explanation) or missing_row
        missing = EvaluationStep(_EXISTS, met=False, decides=True, why=why)
        return [missing, EvaluationStep(_OWN, met=None, decides=False, why="")]
    steps = [EvaluationStep(_EXISTS, met=True, decides=False, why=_("the value exists"))]
    are_unreadable = explanation.rules_problem is not None and not explanation.rules
    if are_unreadable:
        text = _("cannot be read, so they decide nothing: %(problem)s")
        why = text % {"problem": localized(explanation.rules_problem or "")}
        steps.append(EvaluationStep(_RULES, met=False, decides=False, why=why))
    steps += rule_steps(explanation, hint)
    if explanation.rule is not None:
        return [*steps, EvaluationStep(_OWN, met=None, decides=False, why="")]
    why = _("no rule matches") if explanation.rules else _("the value has no rules")
    if are_unreadable:
        why = _("no rule decides")
    return [*steps, EvaluationStep(_OWN, met=True, decides=True, why=why)]


def result_name(explanation: ValueExplanation) -> str:
    """Returns which result of a value it is, in place of one that is secret: "rule 1"."""
    if explanation.override is not None or explanation.error_code is not None:
        return ""
    return _OWN if explanation.has_own else f"rule {explanation.rule}"
