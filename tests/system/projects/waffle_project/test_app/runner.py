"""Runs tests, and prints what became of each, and how many results of it are flagstaff's."""

from __future__ import annotations

import gc
import json
import sys
import unittest
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.metadata import distribution
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import pytest
from django.test.runner import DiscoverRunner

from flagstaff.contrib.waffle import evaluating
from tests.support.flush import install

_FUNCTIONS = ("flag_result", "result_for_user", "switch_result", "sample_result")
_evaluated = 0


def _counted(function: Callable[..., bool | None]) -> Callable[..., bool | None]:
    def counting(*args: Any, **kwargs: Any) -> bool | None:
        global _evaluated  # noqa: PLW0603 (one process runs one test at a time)
        result = function(*args, **kwargs)
        _evaluated += result is not None
        return result

    return counting


def _tests_of_waffle() -> list[str]:
    """Imports the package of waffle's tests and nothing else of waffle. Returns its modules."""
    folder = Path(str(distribution("django-waffle").locate_file("waffle")))
    spec = PathFinder.find_spec("waffle.tests", [str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["waffle.tests"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["waffle"].__dict__["tests"] = module
    return sorted(f"waffle.tests.{path.stem}" for path in folder.glob("tests/test_*.py"))


class Report(unittest.TextTestResult):
    """The outcome of each test, and how often flagstaff evaluated in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, tuple[bool, int]] = {}

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 (the name of unittest)
        global _evaluated  # noqa: PLW0603
        _evaluated = 0
        self._problems = self._count_problems()
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        passed = self._count_problems() == self._problems
        self.outcomes[test.id()] = (passed, _evaluated)
        super().stopTest(test)

    def _count_problems(self) -> int:
        return len(self.errors) + len(self.failures) + len(self.skipped)


class ReportingRunner(DiscoverRunner):
    """Prints the report as JSON in the last line."""

    def get_resultclass(self) -> type[Report]:
        return Report

    def setup_test_environment(self, **kwargs: Any) -> None:
        super().setup_test_environment(**kwargs)
        # All tests of waffle commit their rows; Django would truncate all tables after each.
        install(pytest.MonkeyPatch())
        for name in _FUNCTIONS:
            setattr(evaluating, name, _counted(getattr(evaluating, name)))

    def build_suite(self, test_labels: Any = None, **kwargs: Any) -> Any:
        """Returns waffle's tests."""
        return super().build_suite(_tests_of_waffle(), **kwargs)

    def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
        """Drops the databases, to which threads of waffle's tests leave connections."""
        gc.collect()
        super().teardown_databases(old_config, **kwargs)

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        super().suite_result(suite, result, **kwargs)
        print(json.dumps(result.outcomes))  # noqa: T201 (the test reads it)
        return 0
