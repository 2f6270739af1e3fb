"""FLAGSTAFF_FORCE_OFF: the environment turns flags off in a process. No test uses the database."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from django.test import RequestFactory

from flagstaff import _core, all_flags, explain, flag_enabled, snapshot, status
from flagstaff._engine import forced_off as environment
from flagstaff._evaluation import Explanation, explanation_of
from flagstaff._request.flags import RequestFlags
from flagstaff._types import UserLike
from flagstaff._workers.status import prometheus_text
from flagstaff.testing import override_flag
from tests.support.forced_off import forced_off


@pytest.fixture(autouse=True)
def process_without_forced_off_flags() -> Iterator[None]:
    with forced_off(()):
        yield


@pytest.mark.parametrize(
    ("given", "keys"),
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
    given: str | None,
    keys: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("FLAGSTAFF_FORCE_OFF", raising=False)
    if given is not None:
        monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", given)
    environment.read_environment()
    assert (environment.keys_in("FLAGSTAFF_FORCE_OFF"), status().forced_off) == (
        keys,
        tuple(sorted(keys)),
    )
    line = f"forced off in this process by FLAGSTAFF_FORCE_OFF: {', '.join(keys)}"
    assert caplog.record_tuples == ([("flagstaff", logging.WARNING, line)] if keys else [])


def test_key_that_utf_8_cannot_encode_does_not_prevent_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environ, "FLAGSTAFF_FORCE_OFF", "new_\udcff,search_v2")
    environment.read_environment()
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
        found = snapshot().explain("new_checkout", user)
        assert explanation_of(Explanation, "new_checkout", found) == explanation
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
        found = status()
    assert found.forced_off == ("new_checkout", "search_v2")
    metrics = prometheus_text(found)
    assert f'flagstaff_forced_off{{pid="{found.pid}"}} 2.0\n' in metrics
    assert "search_v2" not in metrics
