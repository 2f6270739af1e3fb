"""The lines that a worker logs about its state."""

from collections.abc import Sequence
from typing import Any

import pytest

from flagstaff._engine import status_log
from flagstaff._engine.status_log import StatusLog, StatusReport
from flagstaff._text import Sentence, say
from tests.support.translations import german


def report(
    mode: str,
    *,
    ready: bool = True,
    problems: Sequence[str] = (),
    usage_problem: Sentence | None = None,
    lost_changes: int = 0,
) -> StatusReport:
    error = "connect: refused" if mode == "down" else None
    return {
        "mode": mode,
        "mode_reason": error,
        "ready": ready,
        "last_error": error,
        "usage_problem": usage_problem,
        "lost_changes": lost_changes,
        "last_lost_changes": say("lost {count}", count=lost_changes),
        "problems": problems,
        "problem_count": len(problems),
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
    with german({"{items} and {others} more": "{items} und {others} weitere"}):
        StatusLog().note(report("live", problems=[f"row {number}" for number in range(12)]))
    [line] = caplog.messages
    assert line.endswith("row 9 and 2 more")


class CountedText(str):
    """A text that counts how often it is compared or hashed."""

    __slots__ = ()
    uses = 0

    def __eq__(self, other: object) -> bool:
        CountedText.uses += 1
        return str.__eq__(self, str(other))

    def __hash__(self) -> int:
        CountedText.uses += 1
        return str.__hash__(self)


def test_texts_of_problems_are_compared_once_however_many_reports_have_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = StatusLog()
    before = [CountedText(f"row {number}") for number in range(1_000)]
    log.note(report("live", problems=before))
    CountedText.uses = 0
    for _ in range(10):
        log.note(report("live", problems=before))
    assert CountedText.uses == 0
    # Each text of both lists is hashed, and found by its hash.
    log.note(report("live", problems=[*map(CountedText, before), CountedText("new row")]))
    assert CountedText.uses <= 4 * len(before)
    assert caplog.messages[1:] == ["new row"]


@pytest.mark.parametrize(
    ("interval", "lines"), [(60, ["usage is not collected: it is locked"]), (0, [])]
)
def test_missing_usage_is_logged_unless_the_settings_turn_it_off(
    interval: int, lines: list[str], caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": interval}
    StatusLog().note(report("live", usage_problem=say("it is locked")))
    assert caplog.messages == lines


@pytest.mark.parametrize(("is_testing", "lines"), [(False, ["lost 1", "lost 3"]), (True, [])])
def test_lost_changes_are_logged_once_a_minute_and_not_in_tests(
    is_testing: bool,
    lines: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr(status_log, "monotonic", lambda: now)
    monkeypatch.setattr(status_log, "is_testing", lambda: is_testing)
    log = StatusLog()
    for lost_changes, seconds in [(0, 1), (1, 1), (1, 30), (2, 1), (3, 60), (3, 100)]:
        now += seconds
        log.note(report("live", lost_changes=lost_changes))
    assert caplog.messages == lines
