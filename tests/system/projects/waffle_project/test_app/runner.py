"""Runs tests, and prints what became of each, and how many results of it are flagstaff's."""

from __future__ import annotations

import gc
import json
import unittest
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.test.runner import DiscoverRunner

_FUNCTIONS = ("served_flag", "served_for_user", "served_switch", "served_sample")
_evaluated = 0


def _counted(function: Callable[..., bool | None]) -> Callable[..., bool | None]:
    def counting(*args: Any, **kwargs: Any) -> bool | None:
        global _evaluated  # noqa: PLW0603 (one process runs one test at a time)
        result = function(*args, **kwargs)
        _evaluated += result is not None
        return result

    return counting


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
        if apps.is_installed("flagstaff.compat"):
            from flagstaff.compat import serve

            for name in _FUNCTIONS:
                setattr(serve, name, _counted(getattr(serve, name)))

    def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
        """Drops the databases, to which threads of waffle's tests leave connections."""
        gc.collect()
        super().teardown_databases(old_config, **kwargs)

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        super().suite_result(suite, result, **kwargs)
        print(json.dumps(result.outcomes))  # noqa: T201 (the test reads it)
        return 0
