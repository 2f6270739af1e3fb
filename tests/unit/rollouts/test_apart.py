"""Functions that are called in a thread of their own."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from threading import Event

import pytest

from flagstaff.rollouts.apart import LateError, call_apart

SECONDS = 10.0
variable = ContextVar("variable", default="outside")


def test_result_is_returned() -> None:
    assert call_apart("one", lambda: 7, SECONDS) == 7


def test_exit_of_the_function_is_raised_in_the_caller() -> None:
    with pytest.raises(SystemExit):
        call_apart("one", lambda: sys.exit(3), SECONDS)


def test_function_sees_the_context_of_its_caller() -> None:
    token = variable.set("inside")
    try:
        assert call_apart("one", variable.get, SECONDS) == "inside"
    finally:
        variable.reset(token)


def test_function_that_is_late_is_not_called_again_before_it_ends() -> None:
    released, ended = Event(), Event()

    def wait() -> None:
        released.wait()
        ended.set()

    with pytest.raises(LateError):
        call_apart("late", wait, 0.01)
    with pytest.raises(LateError):
        call_apart("late", lambda: 7, SECONDS)
    assert call_apart("another", lambda: 7, SECONDS) == 7
    released.set()
    ended.wait(SECONDS)


def test_timeout_that_the_function_raises_is_its_own() -> None:
    def time_out() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        call_apart("one", time_out, SECONDS)
