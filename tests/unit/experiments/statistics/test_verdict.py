"""The verdict: what comes first, and what may be concluded."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from flagstaff.experiments.statistics import (
    MISMATCH_ALPHA,
    Comparison,
    Corrected,
    Evidence,
    Gates,
    Guardrail,
    Outcome,
    Primary,
    Statement,
    judge,
)

BETTER = Comparison(0.03, 0.01, 0.004, 0.056, 0.01)
WORSE = Comparison(-0.03, 0.01, -0.056, -0.004, 0.01)
OPEN_INTERVAL = Comparison(0.01, 0.01, -0.02, 0.04, 0.4)
SILENT = Comparison(0.1, 0.1, -math.inf, math.inf, 1.0)
OPEN, CLOSED = Gates(14, 7, 900, 500), Gates(3, 7, 100, 500)
HARM, NO_HARM = Guardrail("errors", 0.002), Guardrail("latency", -0.5)
NO_DATA, FAILS = Guardrail("refunds", -math.inf), Guardrail("refunds", -math.inf, is_failed=True)


def evidence(comparison: Comparison = OPEN_INTERVAL, **changes: object) -> Evidence:
    found = Evidence(Primary("sales", comparison), OPEN, mismatch_p_value=0.4)
    return replace(found, **changes)  # type: ignore[arg-type]


def outcome_of(comparison: Comparison = OPEN_INTERVAL, **changes: object) -> Outcome:
    return judge(evidence(comparison, **changes)).outcome


def test_mismatch_leaves_no_verdict_and_no_figure() -> None:
    for gates in (OPEN, CLOSED):
        wrong = evidence(BETTER, mismatch_p_value=0.0009, gates=gates, guardrails=[HARM])
        found = judge(wrong)
        assert found.outcome is Outcome.MISMATCH
        assert found.may_conclude == (Statement.SHARES_ARE_WRONG,)
        assert found.may_not_conclude == (Statement.NO_FIGURE_IS_VALID,)
        assert (found.primary, found.largest_possible, found.harmed) == (None, None, ())
    assert outcome_of(BETTER, mismatch_p_value=MISMATCH_ALPHA) is Outcome.BETTER


@pytest.mark.parametrize("gates", [CLOSED, Gates(14, 7, 499, 500), Gates(6.99, 7, 900, 500)])
def test_closed_gates_leave_no_verdict_even_for_a_winner(gates: Gates) -> None:
    found = judge(evidence(BETTER, gates=gates, guardrails=[NO_HARM]))
    assert found.outcome is Outcome.TOO_EARLY
    assert found.primary is None
    assert found.may_conclude == ()
    assert found.may_not_conclude == (Statement.TREND_IS_NO_RESULT,)
    assert found.missing_days == max(7 - gates.days, 0)
    assert found.missing_units == max(500 - gates.units, 0)


def test_gates_open_when_both_are_reached() -> None:
    assert Gates(7, 7, 500, 500).are_open
    assert Gates(0, 0, 0, 0).are_open


def test_harm_stops_a_winner_and_names_the_guardrail() -> None:
    found = judge(evidence(BETTER, guardrails=[NO_HARM, HARM]))
    assert (found.outcome, found.harmed) == (Outcome.HARM, ("errors",))
    assert found.primary is None
    assert found.may_conclude == (Statement.GUARDRAIL_GOT_WORSE,)


def test_harm_stops_before_the_gates() -> None:
    assert outcome_of(gates=CLOSED, guardrails=[HARM]) is Outcome.HARM


def test_tolerated_harm_does_not_stop() -> None:
    assert not replace(HARM, tolerated=0.002).is_harmed
    assert not Guardrail("errors", -math.inf).is_harmed
    assert outcome_of(BETTER, guardrails=[replace(HARM, tolerated=0.01)]) is Outcome.BETTER


@pytest.mark.parametrize("gates", [OPEN, CLOSED])
def test_failed_guardrail_leaves_no_verdict_unless_another_one_got_worse(gates: Gates) -> None:
    found = judge(evidence(BETTER, gates=gates, guardrails=[NO_HARM, FAILS]))
    assert (found.outcome, found.failed) == (Outcome.GUARDRAIL_FAILED, ("refunds",))
    assert (found.primary, found.may_conclude) == (None, ())
    assert found.may_not_conclude == (Statement.HARM_IS_UNKNOWN,)
    assert outcome_of(BETTER, gates=gates, guardrails=[FAILS, HARM]) is Outcome.HARM


@pytest.mark.parametrize(("guardrail", "is_unknown"), [(NO_DATA, True), (NO_HARM, False)])
def test_guardrail_without_data_can_only_stop_and_the_verdict_says_so(
    guardrail: Guardrail, is_unknown: bool
) -> None:
    found = judge(evidence(BETTER, guardrails=[guardrail]))
    assert found.outcome is Outcome.BETTER
    assert (Statement.HARM_IS_UNKNOWN in found.may_not_conclude) is is_unknown


@pytest.mark.parametrize(
    ("comparison", "higher_is_better", "expected"),
    [
        (BETTER, True, Outcome.BETTER),
        (BETTER, False, Outcome.WORSE),
        (WORSE, True, Outcome.WORSE),
        (WORSE, False, Outcome.BETTER),
    ],
)
def test_significant_metric_wins_or_loses_by_its_direction(
    comparison: Comparison, higher_is_better: bool, expected: Outcome
) -> None:
    primary = Primary("sales", comparison, higher_is_better)
    found = judge(evidence(primary=primary))
    assert found.outcome is expected
    assert found.primary == comparison
    better = Statement.TREATMENT_IS_BETTER
    worse = Statement.TREATMENT_IS_WORSE
    assert found.may_conclude == ((better if expected is Outcome.BETTER else worse),)
    assert Statement.ESTIMATE_IS_NOT_EXACT in found.may_not_conclude
    assert Statement.OTHER_METRICS_ARE_NOT_DECIDED in found.may_not_conclude


def test_corrected_p_value_decides_where_there_is_one_and_else_the_alpha() -> None:
    for is_rejected, expected in [(True, Outcome.BETTER), (False, Outcome.UNDECIDED)]:
        corrected = Corrected(0.03, is_rejected, 0.025)
        assert outcome_of(primary=Primary("sales", BETTER, corrected=corrected)) is expected
    assert outcome_of(primary=Primary("sales", BETTER, alpha=0.01)) is Outcome.BETTER
    assert outcome_of(primary=Primary("sales", BETTER, alpha=0.009)) is Outcome.UNDECIDED


def test_incomplete_experiment_or_one_without_enough_units_is_undecided() -> None:
    found = judge(evidence())
    assert found.outcome is Outcome.UNDECIDED
    assert found.may_conclude == (Statement.MORE_UNITS_CAN_DECIDE,)
    assert found.may_not_conclude == (Statement.TREND_IS_NO_RESULT,)
    assert judge(evidence(SILENT)).largest_possible == math.inf
    found = judge(evidence(SILENT, is_complete=True))
    assert found.outcome is Outcome.UNDECIDED
    assert found.may_conclude == (Statement.MORE_UNITS_CAN_DECIDE,)


def test_complete_experiment_without_a_difference_says_what_is_still_possible() -> None:
    found = judge(evidence(is_complete=True, smallest_effect=0.03))
    assert found.outcome is Outcome.NO_DIFFERENCE
    assert found.largest_possible == 0.04
    assert found.may_conclude == (Statement.LARGER_EFFECTS_ARE_UNLIKELY,)
    assert found.may_not_conclude == (Statement.SAME_EFFECT_IS_NOT_PROVEN,)


def test_interval_within_the_smallest_effect_ends_before_the_planned_size() -> None:
    found = judge(evidence(smallest_effect=0.041))
    assert found.outcome is Outcome.NO_DIFFERENCE
    assert Statement.EFFECT_IS_TOO_SMALL_TO_MATTER in found.may_conclude
    assert outcome_of(smallest_effect=0.04) is Outcome.UNDECIDED


def test_keys_of_outcomes_and_statements_are_their_names() -> None:
    for one in [*Outcome, *Statement]:
        assert one.value == one.name.lower()
