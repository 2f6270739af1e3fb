"""The steps of an evaluation as lines of a table: what was checked, and the outcome."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._engine.explain import Explanation
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.steps import EvaluationStep, steps_of
from flagstaff._tables.bucket_units import USER

# By the name of the step. The name of another unit than the user is its own label.
_LABELS = {
    "exists": gettext_lazy("Exists"),
    "enabled": gettext_lazy("Enabled"),
    "allowed": gettext_lazy("Allowed user"),
    "rules": gettext_lazy("Rules"),
    "100 %": gettext_lazy("Rollout of 100 %"),
    USER: gettext_lazy("Known user"),
    "bucket < rollout": gettext_lazy("Bucket below the rollout"),
}
# With an override, the rules are not even read.
_NOT_REACHED = ("enabled", "allowed", "rules", "100 %", USER, "bucket < rollout")
_NUMBERED = {
    "rule": gettext_lazy("Rule %(number)s"),
    "condition": gettext_lazy("Condition %(number)s"),
}


@dataclass(frozen=True)
class ShownStep:
    """A line of the table."""

    label: str
    #: True, False, or None if the evaluation ended before.
    met: bool | None
    decides: bool
    why: str
    #: What came of a condition, in words; empty for other steps.
    outcome_of_condition: str = ""
    #: 1 for a condition of a rule, 2 for a condition of a segment that it names, else 0.
    level: int = 0

    @property
    def outcome(self) -> str:
        """The outcome of the step, in words."""
        if self.outcome_of_condition:
            return self.outcome_of_condition
        if self.met is None:
            return _("not reached")
        return _("passed") if self.met else _("failed")


def shown_steps(explanation: Explanation, user: str | None) -> list[ShownStep]:
    """Returns the steps in the order of the evaluation. `user` is None for an anonymous user."""
    steps = steps_of(explanation, user, _hint)
    if explanation.override is not None:
        [override] = steps
        later = [EvaluationStep(name, met=None, decides=False, why="") for name in _NOT_REACHED]
        return [_override(explanation, override.why), *map(_shown, later)]
    # The page of a flag need not say that the flag exists.
    others = [step for step in steps if step.name != "exists" or step.decides]
    not_forced = _("no environment variable turns the flag off in this process")
    first = ShownStep(_("Not forced off"), met=True, decides=False, why=not_forced)
    return [first, *map(_shown, others)]


def _override(explanation: Explanation, why: str) -> ShownStep:
    is_forced = explanation.override == VARIABLE
    label = _("Not forced off") if is_forced else _("Not overridden by a test")
    return ShownStep(label, met=False, decides=True, why=why)


def _shown(step: EvaluationStep) -> ShownStep:
    label = _label(step.name)
    return ShownStep(label, step.met, step.decides, step.why, step.outcome, step.level)


def _label(name: str) -> str:
    if name in _LABELS:
        return str(_LABELS[name])
    word, _space, number = name.partition(" ")
    if word in _NUMBERED and number.isdigit():
        return _NUMBERED[word] % {"number": number}
    return name


def _hint(example: str) -> str:
    return _(" (write %(example)s into the context)") % {"example": example}
