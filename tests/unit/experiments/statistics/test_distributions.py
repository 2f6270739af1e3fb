"""The examples of the statistics of experiments, and what they import."""

import doctest
import importlib
import math
import pkgutil
from types import FunctionType, ModuleType

import pytest

from flagstaff.experiments import statistics as of
from flagstaff.experiments.statistics.mismatch import HALF_LOG_TWO_PI, stirling_error
from tests.conftest import RunIsolated

MODULES = [
    importlib.import_module(f"{of.__name__}.{module.name}")
    for module in pkgutil.iter_modules(of.__path__)
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_of_module_are_correct(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_public_function_has_an_example() -> None:
    functions = [
        member
        for module in MODULES
        for member in vars(module).values()
        if isinstance(member, FunctionType) and member.__module__ == module.__name__
    ]
    public = [function for function in functions if not function.__name__.startswith("_")]
    assert len(public) > 10
    assert [function.__name__ for function in public if ">>>" not in (function.__doc__ or "")] == []


def test_import_needs_the_standard_library_only(run_isolated: RunIsolated) -> None:
    script = """
import sys
import flagstaff.experiments.statistics.mismatch, flagstaff.experiments.statistics.sequential
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
