"""What an experiment has shown: one outcome, and what may and may not be concluded from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from django.utils.functional import Promise

from flagstaff._text import say
from flagstaff.experiments.statistics.effects import Comparison
from flagstaff.experiments.statistics.mismatch import MISMATCH_ALPHA


class Outcome(Enum):
    """The one-word result. Reports store its value for ever."""

    MISMATCH = "mismatch"
    TOO_EARLY = "too_early"
    HARM = "harm"
    GUARDRAIL_FAILED = "guardrail_failed"
    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no_difference"
    UNDECIDED = "undecided"


OUTCOMES: Mapping[Outcome, str | Promise] = {
    Outcome.MISMATCH: say("no verdict: the shares are wrong").lazy,
    Outcome.TOO_EARLY: say("too early for a verdict").lazy,
    Outcome.HARM: say("stop: a guardrail got worse").lazy,
    Outcome.GUARDRAIL_FAILED: say("no verdict: a guardrail fails").lazy,
    Outcome.BETTER: say("the treatment is better").lazy,
    Outcome.WORSE: say("the treatment is worse").lazy,
    Outcome.NO_DIFFERENCE: say("no difference was found").lazy,
    Outcome.UNDECIDED: say("undecided").lazy,
}

#: Also a part of the alarm on the page.
SHARES_ARE_WRONG = say(
    "The variants do not have the shares that their weights give. Look for robots, for a page that "
    "fails in one variant before the variant is recorded, and for redirects that lose units."
)
_NO_FIGURE = say("No figure of a metric is valid.")
_GUARDRAIL_GOT_WORSE = say("A guardrail got worse by more than is tolerated.")
_BETTER = say("The treatment is better than the control in this metric.")
_WORSE = say("The treatment is worse than the control in this metric.")
_TOO_SMALL = say("If there is an effect, it is too small to matter.")
_MORE_UNITS = say("With more units there can still be a result.")
_NO_RESULT = say("The figures so far do not prove anything.")
_NOT_THE_SAME = say("It is not proven that both variants have the same effect.")
_NOT_EXACT = say(
    "The effect need not be equal to the estimate: all values in the interval are possible. An "
    "experiment that ends at its first success shows too large an effect on average."
)
_OTHERS = say("This says nothing about other metrics.")
_IS_WORSE = say(
    "A guardrail is worse by more than is tolerated, but not with the certainty of a stop."
)
_HARM_IS_UNKNOWN = say("It is not known whether a guardrail got worse by more than is tolerated.")

#: What may and what may not be concluded from each outcome, in English: a report stores it.
_CONCLUSIONS: Mapping[Outcome, tuple[list[str], list[str]]] = {
    Outcome.MISMATCH: ([SHARES_ARE_WRONG], [_NO_FIGURE]),
    Outcome.HARM: ([_GUARDRAIL_GOT_WORSE], [_NOT_EXACT, _OTHERS]),
    Outcome.GUARDRAIL_FAILED: ([], [_HARM_IS_UNKNOWN]),
    Outcome.TOO_EARLY: ([], [_NO_RESULT]),
    Outcome.BETTER: ([_BETTER], [_NOT_EXACT, _OTHERS]),
    Outcome.WORSE: ([_WORSE], [_NOT_EXACT, _OTHERS]),
    Outcome.NO_DIFFERENCE: ([_TOO_SMALL], [_NOT_THE_SAME]),
    Outcome.UNDECIDED: ([_MORE_UNITS], [_NO_RESULT]),
}


@dataclass(frozen=True)
class Guardrail:
    """A metric that must not get worse. It can only stop."""

    name: str
    #: The one-sided lower bound of how much worse it is, in the unit of the metric, at 5 %; -inf
    #: before there are enough units for one.
    harm_bound: float
    #: The same at 5 % for all guardrails together. It decides.
    stop_bound: float
    #: So much is allowed.
    tolerated: float = 0.0
    #: Whether the metric cannot be computed, so that nothing is known about it.
    is_failed: bool = False

    @property
    def is_worse(self) -> bool:
        """Whether there is more harm than is tolerated, by this guardrail alone."""
        return self.harm_bound > self.tolerated

    @property
    def is_harmed(self) -> bool:
        """Whether that is certain enough to stop."""
        return self.stop_bound > self.tolerated


@dataclass(frozen=True)
class Evidence:
    """All that the verdict on one treatment depends on."""

    #: Of the primary metric, with the interval of the corrected alpha.
    comparison: Comparison
    #: Whether the primary metric has a result after the correction.
    is_significant: bool
    #: The smallest `sequential_p_value` of all looks.
    mismatch_p_value: float
    higher_is_better: bool = True
    guardrails: Sequence[Guardrail] = ()
    #: What is missing until there may be a verdict; units are those of the smaller arm.
    missing_days: float = 0.0
    missing_units: int = 0
    #: Effects below are too small to matter, in the unit of the metric; None if it is not set.
    smallest_effect: float | None = None
    #: Whether the primary metric has figures of units whose window is over.
    has_figures: bool = True

    @property
    def harmed(self) -> list[str]:
        """The names of guardrails that got worse."""
        return [guardrail.name for guardrail in self.guardrails if guardrail.is_harmed]

    @property
    def failed(self) -> list[str]:
        """The names of guardrails that cannot be computed."""
        return [guardrail.name for guardrail in self.guardrails if guardrail.is_failed]

    @property
    def largest_possible(self) -> float:
        """The size of the largest effect that the interval still has; inf without an interval."""
        return max(-self.comparison.low, self.comparison.high)

    @property
    def is_too_small(self) -> bool:
        """Whether no effect that matters is possible."""
        return self.smallest_effect is not None and self.largest_possible < self.smallest_effect


def judge(evidence: Evidence) -> Outcome:
    """Returns the verdict on one treatment.

    In this order. A mismatch leaves no verdict at all. A guardrail that got worse stops at once. A
    guardrail that failed leaves no verdict; one without enough units does not. With missing days or
    units it is too early. Then the primary metric: better or worse if it is significant; no
    difference if its interval has only effects below `smallest_effect`; else undecided.

        >>> judge(Evidence(Comparison(0.03, 0.01, 0.002, 0.058, 0.03), True, mismatch_p_value=0.4))
        <Outcome.BETTER: 'better'>
    """
    if evidence.mismatch_p_value < MISMATCH_ALPHA:
        return Outcome.MISMATCH
    if evidence.harmed:
        return Outcome.HARM
    if evidence.failed:
        return Outcome.GUARDRAIL_FAILED
    if evidence.missing_days or evidence.missing_units:
        return Outcome.TOO_EARLY
    return _outcome_of_primary(evidence)


def _outcome_of_primary(evidence: Evidence) -> Outcome:
    if evidence.is_significant:
        is_better = (evidence.comparison.value > 0) == evidence.higher_is_better
        return Outcome.BETTER if is_better else Outcome.WORSE
    return Outcome.NO_DIFFERENCE if evidence.is_too_small else Outcome.UNDECIDED


def conclusions(evidence: Evidence, outcome: Outcome) -> tuple[list[str], list[str]]:
    """Returns what may and what may not be concluded from an outcome of `judge`, in English."""
    may, may_not = _CONCLUSIONS[outcome]
    if not evidence.has_figures:
        may_not = [text for text in may_not if text != _NO_RESULT]
    if outcome in {Outcome.HARM, Outcome.MISMATCH, Outcome.TOO_EARLY}:
        return may, may_not
    if any(guardrail.is_worse for guardrail in evidence.guardrails):
        may_not = [*may_not, _IS_WORSE]
    if outcome in {Outcome.BETTER, Outcome.WORSE} and any(
        guardrail.harm_bound == -math.inf for guardrail in evidence.guardrails
    ):
        may_not = [*may_not, _HARM_IS_UNKNOWN]
    return may, may_not


def outcome_text(outcome: str) -> str:
    """Returns the outcome of a report in words; one that this release does not know as it is."""
    texts = {member.value: text for member, text in OUTCOMES.items()}
    return str(texts.get(outcome, outcome))
