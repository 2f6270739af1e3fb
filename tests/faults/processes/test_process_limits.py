"""A process at its limits, such as those of a container: no thread, no descriptor."""

from __future__ import annotations

import time

import pytest

from tests.support.workers import Worker

MODULE = "tests.faults.process_limits"
REASON = (
    "the process cannot start a thread or open a descriptor, see ulimit -u, ulimit -n, "
    "and the pids limit of its container"
)
NOT_LOADED = "flags are not loaded yet, so evaluations return their default"
GATEWAY = ["get_value", "gateway", "none"]


def test_process_without_threads_returns_defaults_and_starts_its_engine_later(
    database: str,
) -> None:
    with Worker(database, STARTUP_TIMEOUT=10) as worker:
        worker.ask("call", f"{MODULE}.forbid_threads")
        started = time.monotonic()
        assert worker.ask(*GATEWAY) == "none"
        assert worker.ask("flag_enabled", "new_checkout", 2, True) is True
        assert worker.ask("ready") is False
        assert time.monotonic() - started < 2
        status = worker.ask("status")
        assert (status["mode"], status["ready"]) == ("down", False)
        assert status["mode_reason"] == status["last_error"] == f"start: {REASON}"
        worker.sees(["has_logged", 1], True, within=5)
        [[level, message]] = worker.ask("logged")
        assert (level, message) == ("WARNING", f"{NOT_LOADED}: start: {REASON}")
        worker.ask("call", f"{MODULE}.allow_threads")
        worker.sees(GATEWAY, "stripe", within=5)
        assert worker.ask("mode") == "live"


def test_forked_child_without_threads_uses_the_inherited_snapshot(worker: Worker) -> None:
    commands = [GATEWAY, ["flag_enabled", "new_checkout", 2, True], ["mode"]]
    found = worker.ask("call", f"{MODULE}.in_child_without_threads", commands)
    assert found == ["stripe", False, "down"]


def test_refresh_without_threads_raises_and_says_why(worker: Worker) -> None:
    worker.ask("call", f"{MODULE}.forbid_threads")
    with pytest.raises(AssertionError, match=r"RefreshError.*cannot start a thread"):
        worker.ask("refresh")
    assert worker.ask(*GATEWAY) == "stripe"


def test_refresh_without_descriptors_raises_and_writes_no_panic(worker: Worker) -> None:
    worker.ask("refresh")
    # The worker must write nothing to standard error.
    assert worker.ask("call", f"{MODULE}.refresh_without_descriptors") == f"refresh: {REASON}"
    worker.ask("refresh")
