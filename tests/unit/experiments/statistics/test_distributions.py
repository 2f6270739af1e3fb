"""The distributions behind the statistics of experiments, against scipy; and their examples."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math
import pkgutil
from collections.abc import Callable
from types import ModuleType

import pytest
from scipy import special, stats

from flagstaff.experiments import statistics
from flagstaff.experiments.statistics.beta import regularized_beta
from flagstaff.experiments.statistics.gamma import chi_square_survival
from flagstaff.experiments.statistics.stirling import HALF_LOG_TWO_PI, stirling_error
from flagstaff.experiments.statistics.student import t_critical_value, t_survival
from tests.conftest import RunIsolated

FREEDOMS = [1, 1.5, 2, 3.3, 10, 49.9, 200, 1e4, 12_345.6, 1e6, 1e8]
ALPHAS = [0.5, 0.4, 0.1, 0.025, 0.005, 1e-4, 1e-8, 1e-12]
MODULES = [
    statistics,
    *(
        importlib.import_module(f"{statistics.__name__}.{found.name}")
        for found in pkgutil.iter_modules(statistics.__path__)
    ),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_of_module_are_correct(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", statistics.__all__)
def test_public_function_has_an_example(name: str) -> None:
    found = getattr(statistics, name)
    if callable(found) and not isinstance(found, type):
        assert ">>>" in (found.__doc__ or "")


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


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("t", [-3, -0.1, 0, 0.01, 0.5, 1.7, 1.8, 2, 5, 10, 30])
def test_t_survival_equals_that_of_scipy(t: float, freedom: float) -> None:
    expected = float(stats.t.sf(t, freedom))
    assert t_survival(t, freedom) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_t_survival_of_one_degree_is_that_of_cauchy() -> None:
    # scipy has an error of 3e-11 here.
    for t in [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e8]:
        assert t_survival(t, 1) == pytest.approx(math.atan2(1, t) / math.pi, rel=1e-13)


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_t_critical_value_equals_that_of_scipy(alpha: float, freedom: float) -> None:
    expected = float(stats.t.isf(alpha, freedom))
    assert t_critical_value(alpha, freedom) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_t_distribution_without_end_is_normal() -> None:
    for alpha in ALPHAS:
        expected = float(stats.norm.isf(alpha))
        assert t_critical_value(alpha, math.inf) == pytest.approx(expected, rel=1e-13, abs=1e-13)
        assert t_survival(expected, math.inf) == pytest.approx(alpha, rel=1e-12)
    assert t_survival(math.inf, 5) == 0
    assert t_survival(-math.inf, 5) == 1


@pytest.mark.parametrize("a", [0.5, 1, 2.5, 40, 3_000])
@pytest.mark.parametrize("b", [0.5, 1, 7, 900])
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.1, 0.5, 0.8, 0.999, 1.0])
def test_regularized_beta_equals_that_of_scipy(a: float, b: float, x: float) -> None:
    expected = float(special.betainc(a, b, x))
    assert regularized_beta(a, b, x, 1 - x) == pytest.approx(expected, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 9, 50])
@pytest.mark.parametrize("statistic", [0, 1e-5, 0.1, 1, 3, 10, 40, 200, 1000])
def test_chi_square_survival_equals_that_of_scipy(statistic: float, freedom: float) -> None:
    expected = float(stats.chi2.sf(statistic, freedom))
    assert chi_square_survival(statistic, freedom) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("a", [0.5, 1, 3.7, 14.99, 15.01, 60, 1000])
def test_stirling_error_is_the_rest_of_the_gamma_function(a: float) -> None:
    expected = math.lgamma(a) - ((a - 0.5) * math.log(a) - a + HALF_LOG_TWO_PI)
    assert stirling_error(a) == pytest.approx(expected, abs=3e-12)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: t_survival(math.nan, 5), "t "),
        (lambda: t_survival(1, 0), "degrees_of_freedom"),
        (lambda: t_survival(1, math.nan), "degrees_of_freedom"),
        (lambda: t_critical_value(0, 5), "alpha"),
        (lambda: t_critical_value(0.6, 5), "alpha"),
        (lambda: t_critical_value(math.nan, 5), "alpha"),
        (lambda: t_critical_value(0.1, -1), "degrees_of_freedom"),
        (lambda: regularized_beta(0, 1, 0.5, 0.5), "a "),
        (lambda: regularized_beta(1, math.inf, 0.5, 0.5), "b "),
        (lambda: regularized_beta(1, 1, -0.5, 1.5), "x "),
        (lambda: chi_square_survival(-1, 1), "statistic"),
        (lambda: chi_square_survival(math.inf, 1), "statistic"),
        (lambda: chi_square_survival(1, 0), "degrees_of_freedom"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
