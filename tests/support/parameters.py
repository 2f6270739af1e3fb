"""Selects one set of parameters of each test.

`make test` uses all of them, `make matrix` the first.
"""

import os
from collections.abc import Iterable
from typing import Protocol, TypeVar

VARIABLE = "TEST_PARAMETERS"


class _Test(Protocol):
    @property
    def nodeid(self) -> str: ...


_T = TypeVar("_T", bound=_Test)


def split_by_parameters(tests: Iterable[_T]) -> tuple[list[_T], list[_T]]:
    """Returns the tests to run, and those left out.

    With TEST_PARAMETERS=first it leaves out all but the first set of parameters of each function.
    """
    chosen = os.environ.get(VARIABLE, "all")
    if chosen not in ("all", "first"):
        raise ValueError(f"{VARIABLE}={chosen}: use all or first")
    kept: list[_T] = []
    left_out: list[_T] = []
    functions: set[str] = set()
    for test in tests:
        function = test.nodeid.partition("[")[0]
        repeated = chosen == "first" and function in functions
        (left_out if repeated else kept).append(test)
        functions.add(function)
    return kept, left_out
