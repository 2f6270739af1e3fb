"""The choices of a value: which lists can be choices."""

from __future__ import annotations

from time import process_time

import pytest

from flagstaff._text.value_rules import choices_problem


@pytest.mark.parametrize("choices", [[], ["a", "A"], [1, True, "1"], [0, False, ""]])
def test_choices_that_differ_are_accepted(choices: list[object]) -> None:
    assert choices_problem(choices) is None


@pytest.mark.parametrize("choices", [["a", "b", "a"], [1, 1.0], [True, True]])
def test_choice_that_is_there_twice_is_named(choices: list[object]) -> None:
    assert "is there twice; remove one" in str(choices_problem(choices))


def test_time_for_many_choices_grows_with_their_number_only() -> None:
    start = process_time()
    assert choices_problem([*range(20_000)]) is None
    # Comparing each with each other takes a minute.
    assert process_time() - start < 5
