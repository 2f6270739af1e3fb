"""Examples and arguments of the statistics of experiments, and what they import."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from types import FunctionType, ModuleType

import pytest

from flagstaff.experiments import statistics as of
from flagstaff.experiments.statistics.stirling import HALF_LOG_TWO_PI, stirling_error
from tests.conftest import RunIsolated

MODULES = [
    of,
    *(
        importlib.import_module(f"{of.__name__}.{found.name}")
        for found in pkgutil.iter_modules(of.__path__)
    ),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_of_module_are_correct(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_public_function_has_an_example() -> None:
    found = {name: getattr(of, name) for name in of.__all__}
    functions = {name: one for name, one in found.items() if isinstance(one, FunctionType)}
    assert functions
    assert [name for name, one in functions.items() if ">>>" not in (one.__doc__ or "")] == []


def test_import_needs_the_standard_library_only(run_isolated: RunIsolated) -> None:
    script = """
import sys
import flagstaff.experiments.statistics
names = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
ours = {name for name in sys.modules if name.startswith("flagstaff.")}
print(sorted(name for name in names if name in {"django", "numpy", "scipy", "statsmodels"}))
print(sorted(name for name in ours if not name.startswith("flagstaff.experiments")))
"""
    assert run_isolated(script, DJANGO_SETTINGS_MODULE="") == "[]\n[]\n"


@pytest.mark.parametrize("a", [0.5, 1, 3.7, 14.99, 15.01, 60, 1000])
def test_stirling_error_is_the_rest_of_the_gamma_function(a: float) -> None:
    expected = math.lgamma(a) - ((a - 0.5) * math.log(a) - a + HALF_LOG_TWO_PI)
    assert stirling_error(a) == pytest.approx(expected, abs=3e-12)


# Impossible arguments of all functions are rejected by name.

NONE = of.Conversions(0, 0)
SUMS, PAIR = of.Sums(1, 1, 1), of.PairSums(1, 1, 1, 1, 1, 1)
BETTER = of.Comparison(0.03, 0.01, 0.004, 0.056, 0.01)
EVIDENCE = of.Evidence(of.Primary("sales", BETTER), of.Gates(14, 7, 900, 500), mismatch_p_value=0.4)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        # Comparison.
        (lambda: of.proportion(NONE), "units is 0"),
        (lambda: of.mean(of.Sums(1, 5, 25)), "units is 1"),
        (lambda: of.ratio(PAIR), "units is 1"),
        (lambda: of.ratio(of.PairSums(2, 1, 1, 0, 0, 0)), "the mean of x is 0.0"),
        (lambda: of.Estimate(1, math.nan, 1, True), "value"),
        (lambda: of.Estimate(1, 1, -1, True), "standard_error"),
        (lambda: of.Estimate(-1, 1, 1, True), "units"),
        (lambda: of.Effect(1, math.inf, 1, True), "value"),
        (lambda: of.Comparison(1, 1, math.nan, 1, 0.5), "low"),
        (lambda: of.Comparison(1, 1, 0, 1, math.nan), "p_value"),
        # Cuped.
        (lambda: of.adjust([]), "arms is empty"),
        (lambda: of.adjust([of.PairSums(2, 2, 2, 2, 2, 2), PAIR]), "units is 1"),
        # Holm.
        (lambda: of.holm([0.1, -0.1]), "p_values"),
        (lambda: of.holm([1.1]), "p_values"),
        (lambda: of.holm([0.1], 0), "alpha"),
        # Mismatch.
        (lambda: of.Shares([1, 2], [1]), "units has 2 arms"),
        (lambda: of.Shares([1], [1]), "units has fewer"),
        (lambda: of.Shares([1, -1], [1, 1]), "units"),
        (lambda: of.Shares([1, 0.5], [1, 1]), "units"),  # type: ignore[list-item]
        (lambda: of.Shares([1, 1], [1, 0]), "weights"),
        (lambda: of.sequential_p_value(of.Shares([1, 1], [1, 1]), 0), "concentration"),
        # Planner.
        (lambda: of.units_for_proportions(0.1, 0.2, alpha=0), "alpha"),
        (lambda: of.units_for_proportions(0.1, 0.2, power=1), "power"),
        (lambda: of.units_for_proportions(0, 0.1), "control"),
        (lambda: of.units_for_proportions(0.1, 1), "treatment"),
        (lambda: of.units_for_proportions(0.1, 0.1), "treatment"),
        (lambda: of.units_for_means(0, 1), "standard_deviation"),
        (lambda: of.units_for_means(1, 0), "effect"),
        (lambda: of.units_for_means(1, math.nan), "effect"),
        (lambda: of.units_for_means(1e200, 1e-200), "units"),
        # Sequential.
        (lambda: of.Plan(0), "units"),
        (lambda: of.Plan(100, 0), "alpha"),
        (lambda: of.critical_value(-1, of.Plan(100)), "units"),
        (lambda: of.critical_value(1, of.Plan(100), 1), "alpha"),
        # Sums.
        (lambda: of.Conversions(-1, 0), "units"),
        (lambda: of.Conversions(1, -1), "converted"),
        (lambda: of.Conversions(1, 2), "converted"),
        (lambda: of.Conversions(1.5, 1), "units"),  # type: ignore[arg-type]
        (lambda: of.Sums(1, math.nan, 1), "y "),
        (lambda: of.Sums(1, 1, -1), "yy "),
        (lambda: of.Sums(1, 1, 1, math.nan), "shift "),
        (lambda: of.Sums(1, 10**400, 1), "y is too large"),
        (lambda: of.Sums(0, 1, 1), "y and yy"),
        (lambda: of.Sums(2, 10, 1), "yy is 1, but must be at least"),
        (lambda: of.Sums(-1, 0, 0), "units"),
        (lambda: of.PairSums(2, 1, 1, 1, 1, math.nan), "xy "),
        (lambda: of.PairSums(2, 1, 1, math.inf, 1, 1), "x "),
        (lambda: of.PairSums(2, 1, 1, 1, 1, 2), "xy "),
        (lambda: of.PairSums(2, 1, 1, 10, 1, 1), "xx is 1, but must be at least"),
        (lambda: of.PairSums(2, 1, 1, 1, math.nan, 1), "xx "),
        (lambda: SUMS + replace(SUMS, shift=5), "shift "),
        (lambda: PAIR + replace(PAIR, x_shift=2), "x_shift "),
        (lambda: of.Sums(0, 0, 0).mean, "units is 0"),
        (lambda: SUMS.variance, "units is 1"),
        (lambda: PAIR.covariance, "units is 1"),
        # Verdict.
        (lambda: of.judge(replace(EVIDENCE, mismatch_p_value=math.nan)), "mismatch_p_value"),
        (lambda: of.judge(replace(EVIDENCE, mismatch_p_value=1.1)), "mismatch_p_value"),
        (lambda: of.judge(replace(EVIDENCE, smallest_effect=0)), "smallest_effect"),
        (lambda: of.judge(replace(EVIDENCE, smallest_effect=math.nan)), "smallest_effect"),
        (lambda: of.Gates(-1, 0, 0, 0), "days"),
        (lambda: of.Gates(0, math.nan, 0, 0), "least_days"),
        (lambda: of.Gates(0, 0, 0, -1), "least_units"),
        (lambda: of.Guardrail("errors", math.nan), "harm_bound"),
        (lambda: of.Guardrail("errors", 0, math.inf), "tolerated"),
        (lambda: of.Primary("sales", BETTER, alpha=0), "alpha"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
