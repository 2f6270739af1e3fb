"""The lines that a worker logs about its state."""

from __future__ import annotations

import pytest

from flagstaff._engine import status_log
from flagstaff._engine.status_log import Report, StatusLog


def down(*, ready: bool) -> Report:
    """The report of a worker that cannot reach the database."""
    return {
        "mode": "down",
        "mode_reason": "connect: refused",
        "ready": ready,
        "last_error": "connect: refused",
        "usage_problem": None,
        "problems": [],
    }


@pytest.fixture(autouse=True)
def every_outage_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_log, "_MIN_OUTAGE", 0.0)


def test_outage_after_a_load_is_logged_with_the_last_snapshot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    StatusLog().note(down(ready=True))
    assert caplog.messages == [
        "flags are not refreshed; the last snapshot is still used: connect: refused"
    ]


def test_outage_before_the_first_load_is_logged_without_a_snapshot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = StatusLog()
    log.note(down(ready=False))
    log.note_late_start(down(ready=False))
    assert caplog.messages == [
        "flags are not loaded yet, so evaluations return their default: connect: refused"
    ]
