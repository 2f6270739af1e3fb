"""The selection of one set of parameters of each test, and the order of tests of a seed."""

import random
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.other_runs import put_in_order
from tests.support.parameters import VARIABLE, split_by_parameters

TESTS = [
    SimpleNamespace(nodeid=nodeid)
    for nodeid in (
        "tests/a.py::test_one[x]",
        "tests/a.py::test_one[y]",
        "tests/a.py::test_two",
        "tests/b.py::test_one[x]",
        "tests/b.py::TestTwo::test_one[a[0]]",
        "tests/b.py::TestTwo::test_one[a[1]]",
    )
]


def test_selection_of_parameters_is_all_or_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert split_by_parameters(TESTS) == (TESTS, [])
    monkeypatch.setenv(VARIABLE, "first")
    kept, left_out = split_by_parameters(TESTS)
    # Each function of each file once.
    assert kept == [TESTS[0], TESTS[2], TESTS[3], TESTS[4]]
    assert left_out == [TESTS[1], TESTS[5]]
    monkeypatch.setenv(VARIABLE, "some")
    with pytest.raises(ValueError, match="TEST_PARAMETERS=some: use all or first"):
        split_by_parameters(TESTS)


def test_order_of_a_seed_is_always_the_same_and_keeps_each_file_together() -> None:
    tests = [
        SimpleNamespace(nodeid=f"{file}::test_{number}", path=Path(file))
        for file in ("a.py", "b.py", "c.py")
        for number in range(9)
    ]
    orders = []
    for seed in ("7", "7", "8"):
        # Each process of a run has collected them in an order of its own.
        random.shuffle(tests)
        put_in_order(tests, seed)
        orders.append([test.nodeid for test in tests])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])
    assert len([*groupby(tests, key=lambda test: test.path)]) == 3
