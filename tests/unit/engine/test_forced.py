"""FLAGSTAFF_FORCE_OFF and FLAGSTAFF_FORCE_ON turn flags off and on in a process.

No test uses the database.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory

from flagstaff import _core, all_flags, explain, flag_enabled, snapshot, status
from flagstaff._engine import forced_off as off
from flagstaff._engine import forced_on as on
from flagstaff._evaluation import Explanation, explanation_of
from flagstaff._request.flags import RequestFlags
from flagstaff._types import UserLike
from flagstaff._workers.status import prometheus_text
from flagstaff.testing import override_flag
from tests.support.forced_off import forced_off, forced_on


@pytest.fixture(autouse=True)
def process_without_forced_flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FLAGSTAFF_FORCE_ON", " search_v2, new_checkout,\n")
    with forced_off(()), forced_on(()):
        yield
    on.problem = None


@pytest.mark.parametrize(
    ("variable", "keys"),
    [
        (None, []),
        ("", []),
        (" , ,", []),
        ("new_checkout", ["new_checkout"]),
        (" new_checkout , search_v2,\n", ["new_checkout", "search_v2"]),
        ("search_v2,new_checkout,search_v2", ["search_v2", "new_checkout"]),
        ("New Checkout,*", ["New Checkout", "*"]),
    ],
)
def test_variable_is_a_list_of_keys_that_is_logged_in_one_line(
    variable: str | None,
    keys: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("FLAGSTAFF_FORCE_OFF", raising=False)
    if variable is not None:
        monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", variable)
    off.read_environment()
    assert (off.keys_in("FLAGSTAFF_FORCE_OFF"), status().forced_off) == (keys, tuple(sorted(keys)))
    line = f"forced off in this process by FLAGSTAFF_FORCE_OFF: {', '.join(keys)}"
    assert caplog.record_tuples == ([("flagstaff", logging.WARNING, line)] if keys else [])


def test_key_that_utf_8_cannot_encode_does_not_prevent_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environ, "FLAGSTAFF_FORCE_OFF", "new_\udcff,search_v2")
    off.read_environment()
    assert status().forced_off == ("search_v2",)


@pytest.mark.parametrize("user", [None, 42, "Åsa"])
def test_flag_is_off_for_every_user_and_default_and_disabled_by_the_environment(
    user: UserLike,
) -> None:
    with forced_off(["new_checkout"]):
        assert flag_enabled("new_checkout", user, default=True) is False
        assert snapshot().flag_enabled("new_checkout", user, default=True) is False
        assert flag_enabled("banner", user, default=True) is True
        of_request = RequestFlags(RequestFactory().get("/"))
        assert of_request.enabled("new_checkout", default=True) is False
        explanation = explain("new_checkout", user)
        explained = snapshot().explain("new_checkout", user)
        assert explanation_of(Explanation, "new_checkout", explained) == explanation
    assert (explanation.value, explanation.reason) == (False, "DISABLED")
    assert explanation.override == "FLAGSTAFF_FORCE_OFF"


def test_all_flags_includes_forced_off_flags_in_order() -> None:
    with forced_off(["search_v2", "new_checkout"]), override_flag("old_menu", True):
        results = list(all_flags().items())
        # A browser gets client-side flags only.
        assert all_flags(client_side=True).keys() <= {"old_menu"}
    assert results == [("new_checkout", False), ("old_menu", True), ("search_v2", False)]


def test_forced_off_flag_does_not_depend_on_the_user_who_must_be_valid() -> None:
    with forced_off(["new_checkout"]):
        held = snapshot()
        assert _core.current("new_checkout").depends_on_user("new_checkout") is False
        assert held.depends_on_user("new_checkout") is False
        with pytest.raises(TypeError, match="user must be a user"):
            flag_enabled("new_checkout", object())  # type: ignore[arg-type]
    # A snapshot keeps the flags that were forced off.
    assert held.flag_enabled("new_checkout", default=True) is False


def test_status_names_the_keys_and_the_metrics_count_them() -> None:
    with forced_off(["search_v2", "new_checkout"]):
        now = status()
    assert now.forced_off == ("new_checkout", "search_v2")
    metrics = prometheus_text(now)
    assert f'flagstaff_forced_off{{pid="{now.pid}"}} 2.0\n' in metrics
    assert "search_v2" not in metrics


@pytest.mark.parametrize(
    ("debug", "flagstaff"),
    [(True, {}), (False, {"ALLOW_FORCE_ON": True})],
    ids=["DEBUG", "setting"],
)
def test_variable_turns_flags_on_and_is_logged_in_one_line(
    debug: bool, flagstaff: dict[str, Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG, settings.FLAGSTAFF = debug, flagstaff
    on.read_environment()
    assert flag_enabled("new_checkout") is True
    assert flag_enabled("banner") is False
    now = status()
    assert (now.forced_on, now.problems) == (("new_checkout", "search_v2"), ())
    line = "forced on in this process by FLAGSTAFF_FORCE_ON: search_v2, new_checkout"
    assert caplog.record_tuples == [("flagstaff", logging.WARNING, line)]


@pytest.mark.parametrize("allowed", [False, "yes"], ids=["not-allowed", "invalid-setting"])
def test_variable_in_production_has_no_effect_and_is_an_error_and_a_problem(
    allowed: object, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG, settings.FLAGSTAFF = False, {"ALLOW_FORCE_ON": allowed}
    on.read_environment()
    settings.FLAGSTAFF = {}
    assert flag_enabled("new_checkout") is False
    now = status()
    text = (
        "FLAGSTAFF_FORCE_ON has no effect without DEBUG or ALLOW_FORCE_ON: search_v2, "
        "new_checkout; remove the variable"
    )
    assert (now.forced_on, now.problems, now.problem_count) == ((), (text,), 1)
    assert caplog.record_tuples == [("flagstaff", logging.ERROR, text)]


def test_process_without_the_variable_logs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FLAGSTAFF_FORCE_ON")
    on.read_environment()
    assert (caplog.record_tuples, status().problems) == ([], ())


@pytest.mark.parametrize("user", [None, 42])
def test_flag_is_on_for_every_user_by_the_environment(user: int | None) -> None:
    with forced_on(["new_checkout"]):
        explanation = explain("new_checkout", user)
        assert flag_enabled("new_checkout", user) is True
    result = (explanation.value, explanation.reason, explanation.override)
    assert result == (True, "STATIC", "FLAGSTAFF_FORCE_ON")
    [step] = explanation.steps
    assert step.text == "forced on in this process by FLAGSTAFF_FORCE_ON"


def test_forced_off_flag_stays_off_and_a_test_wins_over_both() -> None:
    with forced_on(["new_checkout", "search_v2"]), forced_off(["new_checkout"]):
        assert [flag_enabled(key) for key in ("new_checkout", "search_v2")] == [False, True]
        assert status().forced_on == ("search_v2",)
        assert not on.is_forced_on("new_checkout")
        with override_flag("search_v2", False):
            assert flag_enabled("search_v2") is False
