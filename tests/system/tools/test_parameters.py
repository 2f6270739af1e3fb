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


def test_all_parameters_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert split_by_parameters(TESTS) == (TESTS, [])


def test_first_keeps_each_function_of_each_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "first")
    kept, left_out = split_by_parameters(TESTS)
    assert kept == [TESTS[0], TESTS[2], TESTS[3], TESTS[4]]
    assert left_out == [TESTS[1], TESTS[5]]


def test_unknown_selection_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "some")
    with pytest.raises(ValueError, match="TEST_PARAMETERS=some: use all or first"):
        split_by_parameters(TESTS)
