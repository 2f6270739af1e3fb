"""The verdict: what comes first, and what may be concluded."""

import math
from dataclasses import replace
from typing import Any

import pytest

from flagstaff.experiments.statistics.effects import Comparison
from flagstaff.experiments.statistics.mismatch import MISMATCH_ALPHA
from flagstaff.experiments.verdict import OUTCOMES, Evidence, Guardrail, Outcome, conclusions, judge

BETTER = Comparison(0.03, 0.01, 0.004, 0.056, 0.01)
OPEN_INTERVAL = Comparison(0.01, 0.01, -0.02, 0.04, 0.4)
SILENT = Comparison(0.1, 0.1, -math.inf, math.inf, 1.0)
HARM, NO_HARM = Guardrail("errors", 0.003, 0.002), Guardrail("latency", -0.5, -0.6)
IS_WORSE, NO_DATA = Guardrail("errors", 0.003, -0.001), Guardrail("refunds", -math.inf, -math.inf)
FAILS = replace(NO_DATA, is_failed=True)
WINNER = Evidence(BETTER, is_significant=True, mismatch_p_value=0.4)
OPEN = Evidence(OPEN_INTERVAL, is_significant=False, mismatch_p_value=0.4)


def statements(evidence: Evidence) -> str:
    may, may_not = conclusions(evidence, judge(evidence))
    return " ".join([*may, *may_not])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mismatch_p_value": 0.0009, "missing_days": 1, "guardrails": [HARM]}, Outcome.MISMATCH),
        ({"mismatch_p_value": MISMATCH_ALPHA}, Outcome.BETTER),
        ({"guardrails": [NO_HARM, HARM, FAILS], "missing_days": 1}, Outcome.HARM),
        ({"guardrails": [replace(HARM, tolerated=0.002)]}, Outcome.BETTER),
        ({"guardrails": [IS_WORSE]}, Outcome.BETTER),
        ({"guardrails": [NO_HARM, FAILS], "missing_days": 1}, Outcome.GUARDRAIL_FAILED),
        ({"missing_days": 0.01}, Outcome.TOO_EARLY),
        ({"missing_units": 1, "guardrails": [NO_HARM]}, Outcome.TOO_EARLY),
    ],
)
def test_mismatch_harm_and_gates_come_before_a_winner(
    changes: dict[str, Any], expected: Outcome
) -> None:
    assert judge(replace(WINNER, **changes)) is expected


@pytest.mark.parametrize(
    ("value", "higher_is_better", "expected"),
    [
        (0.03, True, Outcome.BETTER),
        (0.03, False, Outcome.WORSE),
        (-0.03, True, Outcome.WORSE),
        (-0.03, False, Outcome.BETTER),
    ],
)
def test_significant_metric_wins_or_loses_by_its_direction(
    value: float, higher_is_better: bool, expected: Outcome
) -> None:
    comparison = replace(BETTER, value=value)
    assert (
        judge(replace(WINNER, comparison=comparison, higher_is_better=higher_is_better)) is expected
    )


def test_no_difference_needs_an_interval_with_only_effects_that_are_too_small() -> None:
    assert judge(OPEN) is Outcome.UNDECIDED
    assert judge(replace(OPEN, smallest_effect=0.04)) is Outcome.UNDECIDED
    small = replace(OPEN, smallest_effect=0.041)
    assert judge(small) is Outcome.NO_DIFFERENCE
    assert "too small to matter" in statements(small)
    assert judge(replace(small, comparison=SILENT)) is Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("guardrail", "text"),
    [
        (NO_DATA, "not known whether a guardrail got worse"),
        (IS_WORSE, "but not with the certainty of a stop"),
    ],
)
def test_winner_says_what_is_not_certain_of_a_guardrail(guardrail: Guardrail, text: str) -> None:
    assert text in statements(replace(WINNER, guardrails=[NO_HARM, guardrail]))
    assert text not in statements(replace(WINNER, guardrails=[NO_HARM]))


def test_figures_are_judged_only_if_there_are_any() -> None:
    early = replace(OPEN, missing_units=1)
    for evidence in (early, OPEN):
        assert "The figures so far do not prove anything." in statements(evidence)
        empty = replace(evidence, comparison=SILENT, has_figures=False)
        assert "figures" not in statements(empty)


def test_each_outcome_has_statements_and_words() -> None:
    assert all(any(conclusions(OPEN, outcome)) for outcome in Outcome)
    assert {*OUTCOMES} == {*Outcome}
