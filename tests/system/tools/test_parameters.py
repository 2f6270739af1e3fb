"""The selection of one set of parameters of each test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

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
