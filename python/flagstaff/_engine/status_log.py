"""Logs each change of this worker's state once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from flagstaff._core import monotonic
from flagstaff._engine.direct import is_testing
from flagstaff._log import logger
from flagstaff._text import Sentence, some
from flagstaff.conf import conf

_LATE = (
    "the first load takes longer than STARTUP_TIMEOUT; check the database, or increase the timeout"
)
# Seconds. A shorter loss of the connection is not worth a warning.
_MIN_OUTAGE = 1.0
# Seconds between two lines about lost changes: a pooler may switch between two primaries.
_LOST_CHANGES_INTERVAL = 60.0


class StatusReport(TypedDict):
    """The part of `status_report()` that is logged."""

    mode: str
    mode_reason: str | None
    ready: bool
    last_error: str | None
    usage_problem: Sentence | None
    lost_changes: int
    last_lost_changes: Sentence | None
    problems: Sequence[str]
    problem_count: int


class StatusLog:
    """What has been logged. Threads may share it: at worst, a line is logged twice."""

    def __init__(self) -> None:
        # The first state "live" is not logged.
        self._state: tuple[str, str | None] = ("live", None)
        self._down_since: float | None = None
        self._problems: Sequence[str] = ()
        self._problem_count = 0
        self._parameters_error: str | None = None
        self._usage_problem: Sentence | None = None
        self._lost_changes = 0
        self._lost_changes_after = 0.0

    def note(self, report: StatusReport) -> None:
        """Logs the differences to the last report."""
        mode = report["mode"]
        if mode in ("idle", "starting", "direct"):
            return
        if self._is_brief_outage(mode):
            return
        state = (mode, None if mode == "down" else report["mode_reason"])
        if mode == "down" and not report["ready"]:
            self.note_late_start(report)
        elif state != self._state:
            before, self._state = self._state, state
            _log_state(before[0], mode, report["mode_reason"])
        self._note_problems(report["problems"], report["problem_count"])
        self._note_usage(report["usage_problem"])
        self._note_lost_changes(report["lost_changes"], report["last_lost_changes"])

    def _is_brief_outage(self, mode: str) -> bool:
        """Returns True if the connection was lost less than a second ago."""
        if mode != "down":
            if self._down_since is not None and self._state[0] != "down":
                logger.info("the connection to the database was lost for less than a second")
            self._down_since = None
            return False
        if self._down_since is None:
            self._down_since = monotonic()
        return self._state[0] != "down" and monotonic() - self._down_since < _MIN_OUTAGE

    def note_late_start(self, report: StatusReport) -> None:
        """Logs that an evaluation returned its default because nothing is loaded yet."""
        if report["ready"] or self._state[0] == "down":
            return
        self._state = ("down", None)
        reason = report["last_error"] or _LATE
        logger.warning("flags are not loaded yet, so evaluations return their default: %s", reason)

    def note_parameters_error(self, error: str | None) -> None:
        """Logs why new connection parameters cannot be read; None if they can."""
        if error != self._parameters_error:
            self._parameters_error = error
            if error:
                logger.warning("new connection parameters cannot be read: %s", error)

    def _note_problems(self, problems: Sequence[str], count: int) -> None:
        # Reports with the same problems share their texts.
        if problems is self._problems:
            return
        before, self._problems = {*self._problems}, problems
        new = [problem for problem in problems if problem not in before]
        total, self._problem_count = max(len(new), count - self._problem_count), count
        if new:
            logger.warning("%s", some(new, total=total, separator="; "))

    def _note_usage(self, problem: Sentence | None) -> None:
        if problem != self._usage_problem:
            self._usage_problem = problem
            if problem is None:
                logger.info("usage is collected again")
            # With USAGE_INTERVAL = 0, the project's own settings say so.
            elif conf.usage_interval:
                logger.warning("usage is not collected: %s", problem)

    def _note_lost_changes(self, count: int, text: Sentence | None) -> None:
        # Tests empty their database.
        if count == self._lost_changes or is_testing():
            return
        if monotonic() >= self._lost_changes_after:
            self._lost_changes = count
            self._lost_changes_after = monotonic() + _LOST_CHANGES_INTERVAL
            logger.warning("%s", text)


def _log_state(before: str, mode: str, reason: str | None) -> None:
    if mode == "down":
        logger.warning("flags are not refreshed; the last snapshot is still used: %s", reason)
    elif before == "down":
        logger.warning("flags are up to date again (%s)", f"{mode}: {reason}" if reason else mode)
    elif mode == "reload":
        logger.warning("flags are loaded at each poll, allowed users once a minute: %s", reason)
    elif mode == "poll":
        logger.info("flags are refreshed by polling only: %s", reason)
    else:
        logger.info("flags are refreshed by LISTEN and polling")
