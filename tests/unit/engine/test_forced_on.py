"""FLAGSTAFF_FORCE_ON: the environment turns flags on in a process. No test uses the database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flagstaff import explain, flag_enabled, status
from flagstaff._engine import forced_on as environment
from flagstaff.testing import override_flag
from tests.support.forced_off import forced_off, forced_on


@pytest.fixture(autouse=True)
def process_without_forced_on_flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FLAGSTAFF_FORCE_ON", " search_v2, new_checkout,\n")
    with forced_on(()):
        yield
    environment.problem = None


@pytest.mark.parametrize(
    ("debug", "flagstaff"),
    [(True, {}), (False, {"ALLOW_FORCE_ON": True})],
    ids=["DEBUG", "setting"],
)
def test_variable_turns_flags_on_and_is_logged_in_one_line(
    debug: bool, flagstaff: dict[str, Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG, settings.FLAGSTAFF = debug, flagstaff
    environment.read_environment()
    assert flag_enabled("new_checkout") is True
    assert flag_enabled("banner") is False
    found = status()
    assert (found.forced_on, found.problems) == (("new_checkout", "search_v2"), ())
    line = "forced on in this process by FLAGSTAFF_FORCE_ON: search_v2, new_checkout"
    assert caplog.record_tuples == [("flagstaff", logging.WARNING, line)]


@pytest.mark.parametrize("allowed", [False, "yes"], ids=["not-allowed", "invalid-setting"])
def test_variable_in_production_has_no_effect_and_is_an_error_and_a_problem(
    allowed: object, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG, settings.FLAGSTAFF = False, {"ALLOW_FORCE_ON": allowed}
    environment.read_environment()
    settings.FLAGSTAFF = {}
    assert flag_enabled("new_checkout") is False
    found = status()
    text = (
        "FLAGSTAFF_FORCE_ON has no effect without DEBUG or ALLOW_FORCE_ON: search_v2, "
        "new_checkout; remove the variable"
    )
    assert (found.forced_on, found.problems, found.problem_count) == ((), (text,), 1)
    assert caplog.record_tuples == [("flagstaff", logging.ERROR, text)]


def test_process_without_the_variable_logs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FLAGSTAFF_FORCE_ON")
    environment.read_environment()
    assert (caplog.record_tuples, status().problems) == ([], ())


@pytest.mark.parametrize("user", [None, 42])
def test_flag_is_on_for_every_user_by_the_environment(user: int | None) -> None:
    with forced_on(["new_checkout"]):
        explanation = explain("new_checkout", user)
        assert flag_enabled("new_checkout", user) is True
    found = (explanation.value, explanation.reason, explanation.override)
    assert found == (True, "STATIC", "FLAGSTAFF_FORCE_ON")
    [step] = explanation.steps
    assert step.text == "forced on in this process by FLAGSTAFF_FORCE_ON"


def test_forced_off_flag_stays_off_and_a_test_wins_over_both() -> None:
    with forced_on(["new_checkout", "search_v2"]), forced_off(["new_checkout"]):
        assert [flag_enabled(key) for key in ("new_checkout", "search_v2")] == [False, True]
        assert status().forced_on == ("search_v2",)
        assert not environment.is_forced_on("new_checkout")
        with override_flag("search_v2", False):
            assert flag_enabled("search_v2") is False
