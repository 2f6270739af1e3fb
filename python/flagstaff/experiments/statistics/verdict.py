"""What an experiment has shown: one outcome, and what may and may not be concluded from it.

Pure data: an enum per sentence and the figures in it. The words are written and translated where
they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from flagstaff.experiments.statistics.arguments import check_alpha, check_at_least, check_finite
from flagstaff.experiments.statistics.estimates import Comparison
from flagstaff.experiments.statistics.holm import Corrected
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


@dataclass(frozen=True)
class Primary:
    """The metric that decides. Raises ValueError."""

    name: str
    #: With the running minimum of the p values, and with the interval of
    #: `corrected.interval_alpha` if there are several metrics.
    comparison: Comparison
    higher_is_better: bool = True
    #: By Holm, if there are several metrics or treatments; else None, and `alpha` decides.
    corrected: Corrected | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        check_alpha(alpha=self.alpha)


@dataclass(frozen=True)
class Guardrail:
    """A metric that must not get worse. It can only stop. Raises ValueError."""

    name: str
    #: The one-sided lower bound of how much worse it is, in the unit of the metric; -inf before
    #: there are enough units for one.
    harm_bound: float
    #: So much is allowed.
    tolerated: float = 0.0
    #: Whether the metric cannot be computed, so that nothing is known about it.
    is_failed: bool = False

    def __post_init__(self) -> None:
        check_finite(tolerated=self.tolerated)
        if math.isnan(self.harm_bound):
            raise ValueError("harm_bound is nan, but must be a number")

    @property
    def is_harmed(self) -> bool:
        """Whether more harm than is tolerated is certain."""
        return self.harm_bound > self.tolerated


@dataclass(frozen=True)
class Gates:
    """Before these are reached there is no verdict. Raises ValueError for negative numbers."""

    days: float
    least_days: float
    #: Of the smaller arm.
    units: int
    least_units: int

    def __post_init__(self) -> None:
        check_at_least(0, days=self.days, least_days=self.least_days)
        check_at_least(0, units=self.units, least_units=self.least_units)

    @property
    def are_open(self) -> bool:
        """Whether the experiment has run long enough, with enough units."""
        return self.days >= self.least_days and self.units >= self.least_units


@dataclass(frozen=True)
class Evidence:
    """All that the verdict on one treatment depends on."""

    primary: Primary
    gates: Gates
    #: The running minimum of `sequential_p_value`.
    mismatch_p_value: float
    guardrails: Sequence[Guardrail] = ()
    #: Whether the planned size is reached.
    is_complete: bool = False
    #: Effects below are too small to matter, in the unit of the metric; None if it is not set.
    smallest_effect: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The outcome of one treatment against the control."""

    outcome: Outcome
    may_conclude: tuple[Statement, ...]
    may_not_conclude: tuple[Statement, ...]
    #: None where no figure of the primary metric may be shown as a result.
    primary: Comparison | None = None
    #: The size of the largest effect that the interval still has; inf without an interval.
    largest_possible: float | None = None
    #: The names of guardrails that got worse.
    harmed: tuple[str, ...] = ()
    #: The names of guardrails that cannot be computed.
    failed: tuple[str, ...] = ()
    #: What the gates still need.
    missing_days: float = 0.0
    missing_units: int = 0


def judge(evidence: Evidence) -> Verdict:
    """Returns the verdict on one treatment.

    In this order. A mismatch leaves no verdict at all. A guardrail that got worse stops at once. A
    guardrail that failed leaves no verdict; one without enough units does not. Before the gates it
    is too early.
    Then the primary metric: better or worse if it is significant after the correction; no
    difference if its interval has only effects below `smallest_effect`, or if the experiment is
    complete and has an interval; else undecided. Raises ValueError for a p value of the mismatch
    that is not from 0 to 1, and for a smallest effect that is not above 0.

        >>> effect = Comparison(0.03, 0.01, 0.002, 0.058, 0.03)
        >>> found = judge(Evidence(Primary("sales", effect), Gates(14, 7, 900, 500), 0.4))
        >>> found.outcome, found.may_conclude
        (<Outcome.BETTER: 'better'>, (<Statement.TREATMENT_IS_BETTER: 'treatment_is_better'>,))
    """
    _check(evidence)
    if evidence.mismatch_p_value < MISMATCH_ALPHA:
        return Verdict(
            Outcome.MISMATCH, (Statement.SHARES_ARE_WRONG,), (Statement.NO_FIGURE_IS_VALID,)
        )
    gates = evidence.gates
    harmed = tuple(guardrail.name for guardrail in evidence.guardrails if guardrail.is_harmed)
    if harmed:
        return Verdict(
            Outcome.HARM,
            (Statement.GUARDRAIL_GOT_WORSE,),
            (Statement.ESTIMATE_IS_NOT_EXACT, Statement.OTHER_METRICS_ARE_NOT_DECIDED),
            harmed=harmed,
        )
    if failed := tuple(guardrail.name for guardrail in evidence.guardrails if guardrail.is_failed):
        return Verdict(Outcome.GUARDRAIL_FAILED, (), (Statement.HARM_IS_UNKNOWN,), failed=failed)
    if not gates.are_open:
        return Verdict(
            Outcome.TOO_EARLY,
            (),
            (Statement.TREND_IS_NO_RESULT,),
            missing_days=max(gates.least_days - gates.days, 0.0),
            missing_units=max(gates.least_units - gates.units, 0),
        )
    outcome = _outcome(evidence)
    may, may_not = _statements(evidence, outcome)
    comparison = evidence.primary.comparison
    return Verdict(outcome, may, may_not, comparison, _largest_possible(comparison))


def _outcome(evidence: Evidence) -> Outcome:
    primary = evidence.primary
    comparison = primary.comparison
    if primary.corrected is None:
        is_significant = comparison.p_value <= primary.alpha
    else:
        is_significant = primary.corrected.is_rejected
    if is_significant:
        is_better = (comparison.value > 0) == primary.higher_is_better
        return Outcome.BETTER if is_better else Outcome.WORSE
    is_known = math.isfinite(_largest_possible(comparison))
    if (evidence.is_complete and is_known) or _is_too_small(evidence):
        return Outcome.NO_DIFFERENCE
    return Outcome.UNDECIDED


def _statements(
    evidence: Evidence, outcome: Outcome
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """Returns what may and what may not be concluded from a result of the primary metric."""
    if outcome in {Outcome.BETTER, Outcome.WORSE}:
        is_better = outcome is Outcome.BETTER
        found = Statement.TREATMENT_IS_BETTER if is_better else Statement.TREATMENT_IS_WORSE
        may_not = (Statement.ESTIMATE_IS_NOT_EXACT, Statement.OTHER_METRICS_ARE_NOT_DECIDED)
        has_unknown = any(guardrail.harm_bound == -math.inf for guardrail in evidence.guardrails)
        return (found,), (*may_not, Statement.HARM_IS_UNKNOWN) if has_unknown else may_not
    if outcome is Outcome.UNDECIDED:
        return (Statement.MORE_UNITS_CAN_DECIDE,), (Statement.TREND_IS_NO_RESULT,)
    too_small = (Statement.EFFECT_IS_TOO_SMALL_TO_MATTER,) if _is_too_small(evidence) else ()
    may = (Statement.LARGER_EFFECTS_ARE_UNLIKELY, *too_small)
    return may, (Statement.SAME_EFFECT_IS_NOT_PROVEN,)


def _is_too_small(evidence: Evidence) -> bool:
    smallest = evidence.smallest_effect
    return smallest is not None and _largest_possible(evidence.primary.comparison) < smallest


def _largest_possible(comparison: Comparison) -> float:
    return max(-comparison.low, comparison.high)


def _check(evidence: Evidence) -> None:
    # NaN fails too.
    if not 0 <= evidence.mismatch_p_value <= 1:
        raise ValueError(
            f"mismatch_p_value is {evidence.mismatch_p_value}, but must be from 0 to 1"
        )
    if evidence.smallest_effect is not None and not evidence.smallest_effect > 0:
        raise ValueError(f"smallest_effect is {evidence.smallest_effect}, but must be above 0")
