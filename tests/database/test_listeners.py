"""Listeners of evaluations, from memory and from the database."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from threading import Thread, get_ident
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import (
    _log,
    all_flags,
    experiments,
    explain,
    flag_enabled,
    get_value,
    listeners,
    resolve_flag,
    snapshot,
)
from flagstaff.exceptions import UnknownFlagError
from flagstaff.experiments import explain_variant, get_variant, peek_variant
from flagstaff.listeners import Evaluation
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag, override_value, override_variant
from tests.support.fixtures import COMMITTED, Load
from tests.support.forced_off import forced_off

Calls = list[tuple[str, str, object, str]]


@pytest.fixture
def rows(load: Load) -> Load:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    KeyValueStore.objects.create(key="cities", value=["Rome"])
    KeyValueStore.objects.create(key="limit", value=3)
    KeyValueStore.objects.create(key="password", value="hunter2", secret=True)
    experiments.create("button")
    experiments.start("button")
    load()
    return load


@pytest.fixture
def add() -> Iterator[Callable[[listeners.Listener], Callable[[], None]]]:
    removers: list[Callable[[], None]] = []

    def added(listener: listeners.Listener) -> Callable[[], None]:
        removers.append(listeners.add(listener))
        return removers[-1]

    yield added
    for remove in removers:
        remove()


@pytest.fixture
def calls(rows: Load, add: Any) -> Calls:
    """What a listener has received."""
    received: Calls = []
    add(
        lambda evaluation: received.append(
            (evaluation.kind, evaluation.key, evaluation.value, evaluation.reason)
        )
    )
    return received


def test_flag_value_and_variant_call_the_listener_after_the_result(calls: Calls) -> None:
    held = snapshot()
    for is_on, value, variant, peeked in (
        (flag_enabled, get_value, get_variant, peek_variant),
        (held.flag_enabled, held.get_value, held.get_variant, held.peek_variant),
    ):
        results = is_on("banner"), value("limit"), variant("button", 1), peeked("button", 1)
        assert calls == [
            ("flag", "banner", True, "STATIC"),
            ("value", "limit", 3, "STATIC"),
            ("variant", "button", results[2], "SPLIT"),
            ("variant", "button", results[2], "SPLIT"),
        ]
        assert results[:2] == (True, 3)
        calls.clear()


def test_resolution_calls_the_listener_once_and_bulk_results_and_explanations_do_not(
    calls: Calls,
) -> None:
    resolve_flag("banner")
    experiments.resolve_variant("unknown", 1, default="plain")
    assert calls == [("flag", "banner", True, "STATIC"), ("variant", "unknown", "plain", "ERROR")]
    calls.clear()
    all_flags(1)
    snapshot().all_flags(client_side=True)
    explain("banner", 1)
    explain_variant("button", 1)
    snapshot().depends_on_user("banner")
    snapshot().kind_of("banner")
    assert calls == []


def test_unknown_keys_overrides_and_forced_off_flags_call_the_listener(calls: Calls) -> None:
    flag_enabled("unknown", default=True)
    get_value("unknown", 5)
    with (
        override_flag("banner", False),
        override_value("limit", 9),
        override_variant("button", "b"),
    ):
        flag_enabled("banner")
        get_value("limit")
        get_variant("button", 1)
    with forced_off(["banner", "button"]):
        flag_enabled("banner", default=True)
        get_variant("button", 1, default="plain")
    assert calls == [
        ("flag", "unknown", True, "ERROR"),
        ("value", "unknown", 5, "ERROR"),
        ("flag", "banner", False, "STATIC"),
        ("value", "limit", 9, "STATIC"),
        ("variant", "button", "b", "STATIC"),
        ("flag", "banner", False, "DISABLED"),
        ("variant", "button", "plain", "DISABLED"),
    ]


def test_unknown_key_that_raises_does_not_call_the_listener(settings: Any, add: Any) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    calls: list[Evaluation] = []
    add(calls.append)
    with pytest.raises(UnknownFlagError):
        flag_enabled("unknown")
    assert calls == []


def test_secret_value_reaches_the_listener_as_a_mask_also_if_it_became_secret(
    calls: Calls, rows: Load
) -> None:
    assert get_value("password") == snapshot().get_value("password") == "hunter2"
    assert [value for _, _, value, _ in calls] == ["********", "********"]
    calls.clear()
    KeyValueStore.objects.filter(key="limit").update(secret=True)
    rows()
    assert get_value("limit") == 3
    assert calls == [("value", "limit", "********", "STATIC")]


def test_listener_makes_evaluations_that_call_no_listener(rows: Load, add: Any) -> None:
    seen: list[str] = []

    def listener(evaluation: Evaluation) -> None:
        seen.append(evaluation.key)
        assert flag_enabled("banner") is True

    add(listener)
    get_value("limit")
    get_value("cities")
    assert seen == ["limit", "cities"]


def test_listener_that_raises_is_logged_once_and_the_others_are_called(
    rows: Load, add: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_log, "_logged", set())
    seen: list[str] = []

    def broken(evaluation: Evaluation) -> None:
        raise RuntimeError("personal data")

    add(broken)
    add(lambda evaluation: seen.append(evaluation.key))
    with caplog.at_level(logging.WARNING, "flagstaff"):
        assert [flag_enabled("banner"), flag_enabled("banner")] == [True, True]
    assert seen == ["banner", "banner"]
    [message] = [message for message in caplog.messages if "listener" in message]
    assert "broken has raised RuntimeError in " in message
    assert "personal data" not in message
    # A listener without a module.
    add(list.append)
    assert flag_enabled("banner") is True
    assert "the listener builtins.list.append has raised TypeError" in caplog.text


def test_interrupt_of_a_listener_reaches_the_caller_and_the_next_call_is_heard(
    rows: Load, add: Any
) -> None:
    def interrupted(evaluation: Evaluation) -> None:
        raise KeyboardInterrupt

    add(interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            flag_enabled("banner")


def test_removed_listener_is_not_called_even_by_an_older_snapshot(rows: Load, add: Any) -> None:
    seen: list[str] = []

    def listener(evaluation: Evaluation) -> None:
        seen.append(evaluation.key)

    first, second = add(listener), add(listener)
    held = snapshot()
    held.flag_enabled("banner")
    assert seen == ["banner"] * 2
    first()
    first()
    held.flag_enabled("banner")
    assert seen == ["banner"] * 3
    second()
    held.flag_enabled("banner")
    flag_enabled("banner")
    assert seen == ["banner"] * 3


def test_listener_runs_in_the_thread_and_the_event_loop_of_the_caller(rows: Load, add: Any) -> None:
    places: list[object] = []

    def listener(evaluation: Evaluation) -> None:
        try:
            loop: object = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        places.append((get_ident(), loop))

    with override_flag("banner", True):
        add(listener)
        thread = Thread(target=flag_enabled, args=("banner",))
        thread.start()
        thread.join()

        async def evaluate() -> object:
            flag_enabled("banner")
            return asyncio.get_running_loop()

        loop = asyncio.run(evaluate())
    assert places == [(thread.ident, None), (get_ident(), loop)]


@pytest.mark.parametrize("load", [pytest.param("memory", marks=COMMITTED)], indirect=True)
def test_kept_values_stay_kept_with_a_listener(rows: Load, calls: Calls) -> None:
    KeyValueStore.objects.create(key="motto", value="one two")
    rows()
    assert get_value("motto") is get_value("motto")
    # A list is a fresh object for each caller.
    assert get_value("cities") is not get_value("cities")
    assert len(calls) == 4


def test_evaluation_has_the_fields_of_its_resolution(rows: Load, add: Any) -> None:
    seen: list[Evaluation] = []
    add(seen.append)
    flag_enabled("banner", User(pk=1))
    [evaluation] = seen
    assert (evaluation.variant, evaluation.rule, evaluation.error_code) == ("on", None, None)
    assert repr(evaluation).startswith("Evaluation(kind='flag', key='banner', value=True, reason=")


def test_object_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="a listener must be a function, not 7"):
        listeners.add(7)  # type: ignore[arg-type]
