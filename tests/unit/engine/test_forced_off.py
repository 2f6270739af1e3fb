"""FLAGSTAFF_FORCE_OFF: the environment turns flags off in a process. No test uses the database."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.test import RequestFactory

from flagstaff import _core, all_flags, explain, flag_enabled, snapshot, status
from flagstaff._engine import forced_off as environment
from flagstaff._engine.explain import explanation_of
from flagstaff._engine.metrics import prometheus_text
from flagstaff.middleware import RequestFlags
from flagstaff.testing import override_flag
from flagstaff.typing import UserLike
from tests.support.forced_off import forced_off


@pytest.fixture(autouse=True)
def process_without_forced_off_flags() -> Iterator[None]:
    with forced_off(()):
        yield


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("", []),
        (" , ,", []),
        ("new_checkout", ["new_checkout"]),
        (" new_checkout , search_v2,\n", ["new_checkout", "search_v2"]),
        ("search_v2,new_checkout,search_v2", ["search_v2", "new_checkout"]),
        ("New Checkout,*", ["New Checkout", "*"]),
    ],
)
def test_variable_is_a_list_of_keys(
    given: str, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", given)
    assert environment.given_keys() == keys


def test_forced_off_keys_are_logged_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "new_checkout, search_v2")
    environment.read_environment()
    [record] = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (
        "flagstaff",
        "WARNING",
        "forced off in this process by FLAGSTAFF_FORCE_OFF: new_checkout, search_v2",
    )


@pytest.mark.parametrize("given", [None, "", " , "])
def test_process_without_keys_logs_nothing(
    given: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FLAGSTAFF_FORCE_OFF", raising=False)
    if given is not None:
        monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", given)
    environment.read_environment()
    assert (caplog.messages, status().forced_off) == ([], ())


def test_key_that_utf_8_cannot_encode_does_not_prevent_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environ, "FLAGSTAFF_FORCE_OFF", "new_\udcff,search_v2")
    environment.read_environment()
    assert status().forced_off == ("search_v2",)


@pytest.mark.parametrize("user", [None, 42, "Åsa"])
def test_forced_off_flag_is_off_for_every_user_and_default(user: UserLike) -> None:
    with forced_off(["new_checkout"]):
        assert flag_enabled("new_checkout", user, default=True) is False
        assert snapshot().flag_enabled("new_checkout", user, default=True) is False
        assert flag_enabled("banner", user, default=True) is True


def test_forced_off_flag_is_disabled_by_the_environment() -> None:
    with forced_off(["new_checkout"]):
        explanation = explain("new_checkout", 42)
        found = snapshot().explain("new_checkout", 42)
        assert explanation_of("new_checkout", found) == explanation
    assert (explanation.value, explanation.reason) == (False, "DISABLED")
    assert explanation.override == "FLAGSTAFF_FORCE_OFF"


def test_override_of_a_test_is_named_in_the_explanation() -> None:
    with override_flag("new_checkout", True):
        assert explain("new_checkout").override == "override_flag"
    assert explain("new_checkout").override is None


def test_override_of_a_test_wins_over_the_environment() -> None:
    with forced_off(["new_checkout"]):
        with override_flag("new_checkout", True):
            assert flag_enabled("new_checkout") is True
            assert all_flags() == {"new_checkout": True}
            assert explain("new_checkout").override == "override_flag"
        assert flag_enabled("new_checkout", default=True) is False


def test_all_flags_includes_forced_off_flags_in_order() -> None:
    with forced_off(["search_v2", "new_checkout"]), override_flag("old_menu", True):
        assert list(all_flags().items()) == [
            ("new_checkout", False),
            ("old_menu", True),
            ("search_v2", False),
        ]


def test_browser_does_not_get_forced_off_keys_without_a_client_side_flag() -> None:
    with forced_off(["search_v2"]):
        assert all_flags(client_side=True) == {}


def test_forced_off_flag_does_not_depend_on_the_user() -> None:
    with forced_off(["new_checkout"]):
        assert _core.depends_on_user("new_checkout") is False
        assert snapshot().depends_on_user("new_checkout") is False


def test_wrong_type_of_user_is_an_error_for_a_forced_off_flag() -> None:
    with forced_off(["new_checkout"]), pytest.raises(TypeError, match="user must be a user"):
        flag_enabled("new_checkout", object())  # type: ignore[arg-type]


def test_snapshot_keeps_the_flags_that_were_forced_off() -> None:
    with forced_off(["new_checkout"]):
        held = snapshot()
    assert held.flag_enabled("new_checkout", default=True) is False


def test_request_flags_are_off() -> None:
    flags = RequestFlags(RequestFactory().get("/"))
    with forced_off(["new_checkout"]):
        assert flags.enabled("new_checkout", default=True) is False
        assert flags.enabled("banner", default=True) is True
        assert flags.all() == {"new_checkout": False}


def test_status_names_the_keys_and_the_metrics_count_them() -> None:
    with forced_off(["search_v2", "new_checkout"]):
        found = status()
    assert found.forced_off == ("new_checkout", "search_v2")
    metrics = prometheus_text(found)
    assert f'flagstaff_forced_off{{pid="{found.pid}"}} 2.0\n' in metrics
    assert "search_v2" not in metrics
