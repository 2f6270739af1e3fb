"""What an experiment has shown: one outcome, and what may and may not be concluded from it.

Pure data: an enum per sentence and the figures in it. The words are written and translated where
they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from flagstaff.experiments.statistics.estimates import Comparison
from flagstaff.experiments.statistics.mismatch import MISMATCH_ALPHA


class Outcome(Enum):
    """The one-word result."""

    MISMATCH = "mismatch"
    TOO_EARLY = "too_early"
    HARM = "harm"
    GUARDRAIL_FAILED = "guardrail_failed"
    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no_difference"
    UNDECIDED = "undecided"


class Statement(Enum):
    """A sentence for people, by its message key. The figures are those of the verdict."""

    # What may be concluded.
    SHARES_ARE_WRONG = "shares_are_wrong"
    GUARDRAIL_GOT_WORSE = "guardrail_got_worse"
    TREATMENT_IS_BETTER = "treatment_is_better"
    TREATMENT_IS_WORSE = "treatment_is_worse"
    LARGER_EFFECTS_ARE_UNLIKELY = "larger_effects_are_unlikely"
    EFFECT_IS_TOO_SMALL_TO_MATTER = "effect_is_too_small_to_matter"
    MORE_UNITS_CAN_DECIDE = "more_units_can_decide"
    # What may not be concluded.
    NO_FIGURE_IS_VALID = "no_figure_is_valid"
    TREND_IS_NO_RESULT = "trend_is_no_result"
    SAME_EFFECT_IS_NOT_PROVEN = "same_effect_is_not_proven"
    ESTIMATE_IS_NOT_EXACT = "estimate_is_not_exact"
    OTHER_METRICS_ARE_NOT_DECIDED = "other_metrics_are_not_decided"
    HARM_IS_UNKNOWN = "harm_is_unknown"


#: What may and what may not be concluded from each outcome.
_CONCLUSIONS = {
    Outcome.MISMATCH: ([Statement.SHARES_ARE_WRONG], [Statement.NO_FIGURE_IS_VALID]),
    Outcome.HARM: (
        [Statement.GUARDRAIL_GOT_WORSE],
        [Statement.ESTIMATE_IS_NOT_EXACT, Statement.OTHER_METRICS_ARE_NOT_DECIDED],
    ),
    Outcome.GUARDRAIL_FAILED: ([], [Statement.HARM_IS_UNKNOWN]),
    Outcome.TOO_EARLY: ([], [Statement.TREND_IS_NO_RESULT]),
    Outcome.BETTER: (
        [Statement.TREATMENT_IS_BETTER],
        [Statement.ESTIMATE_IS_NOT_EXACT, Statement.OTHER_METRICS_ARE_NOT_DECIDED],
    ),
    Outcome.WORSE: (
        [Statement.TREATMENT_IS_WORSE],
        [Statement.ESTIMATE_IS_NOT_EXACT, Statement.OTHER_METRICS_ARE_NOT_DECIDED],
    ),
    Outcome.NO_DIFFERENCE: (
        [Statement.LARGER_EFFECTS_ARE_UNLIKELY],
        [Statement.SAME_EFFECT_IS_NOT_PROVEN],
    ),
    Outcome.UNDECIDED: ([Statement.MORE_UNITS_CAN_DECIDE], [Statement.TREND_IS_NO_RESULT]),
}


@dataclass(frozen=True)
class Guardrail:
    """A metric that must not get worse. It can only stop."""

    name: str
    #: The one-sided lower bound of how much worse it is, in the unit of the metric; -inf before
    #: there are enough units for one.
    harm_bound: float
    #: So much is allowed.
    tolerated: float = 0.0
    #: Whether the metric cannot be computed, so that nothing is known about it.
    is_failed: bool = False

    @property
    def is_harmed(self) -> bool:
        """Whether more harm than is tolerated is certain."""
        return self.harm_bound > self.tolerated


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
    #: Whether the planned size is reached.
    is_complete: bool = False
    #: Effects below are too small to matter, in the unit of the metric; None if it is not set.
    smallest_effect: float | None = None

    @property
    def harmed(self) -> list[str]:
        """The names of guardrails that got worse."""
        return [one.name for one in self.guardrails if one.is_harmed]

    @property
    def failed(self) -> list[str]:
        """The names of guardrails that cannot be computed."""
        return [one.name for one in self.guardrails if one.is_failed]

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
    difference if its interval has only effects below `smallest_effect`, or if the experiment is
    complete and has an interval; else undecided.

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
    is_known = math.isfinite(evidence.largest_possible)
    if (evidence.is_complete and is_known) or evidence.is_too_small:
        return Outcome.NO_DIFFERENCE
    return Outcome.UNDECIDED


def conclusions(
    evidence: Evidence, outcome: Outcome
) -> tuple[Sequence[Statement], Sequence[Statement]]:
    """Returns what may and what may not be concluded from an outcome of `judge`.

    >>> evidence = Evidence(Comparison(0.0, 0.01, -0.02, 0.02, 1.0), False, 0.4, is_complete=True)
    >>> may, may_not = conclusions(evidence, judge(evidence))
    >>> may_not
    [<Statement.SAME_EFFECT_IS_NOT_PROVEN: 'same_effect_is_not_proven'>]
    """
    may, may_not = _CONCLUSIONS[outcome]
    if outcome is Outcome.NO_DIFFERENCE and evidence.is_too_small:
        may = [*may, Statement.EFFECT_IS_TOO_SMALL_TO_MATTER]
    if outcome in {Outcome.BETTER, Outcome.WORSE} and any(
        one.harm_bound == -math.inf for one in evidence.guardrails
    ):
        may_not = [*may_not, Statement.HARM_IS_UNKNOWN]
    return may, may_not
