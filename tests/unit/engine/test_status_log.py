"""The lines that a worker logs about its state."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flagstaff._engine import status_log
from flagstaff._engine.status_log import StatusLog, StatusReport
from tests.support.translations import german


def report(mode: str, *, ready: bool = True, problems: Sequence[str] = ()) -> StatusReport:
    error = "connect: refused" if mode == "down" else None
    return {
        "mode": mode,
        "mode_reason": error,
        "ready": ready,
        "last_error": error,
        "usage_problem": None,
        "problems": problems,
    }


@pytest.mark.parametrize(
    ("ready", "line"),
    [
        (True, "flags are not refreshed; the last snapshot is still used: connect: refused"),
        (False, "flags are not loaded yet, so evaluations return their default: connect: refused"),
    ],
)
def test_outage_is_logged_once(
    ready: bool, line: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_log, "_MIN_OUTAGE", 0.0)
    log = StatusLog()
    log.note(report("down", ready=ready))
    log.note_late_start(report("down", ready=ready))
    assert caplog.messages == [line]


def test_log_line_is_english_in_a_request_in_another_language(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with german({("%(items)s and %(count)s more", 1): "%(items)s und %(count)s weitere"}):
        StatusLog().note(report("live", problems=[f"row {number}" for number in range(12)]))
    [line] = caplog.messages
    assert line.endswith("row 9 and 2 more")
