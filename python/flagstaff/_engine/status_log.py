"""What has happened to the flags of this process, one line in the log for each change of state."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["StatusLog", "logger"]

logger = logging.getLogger("flagstaff")

_NAMED = 10
# What nobody needs to be told who has said so in the settings.
_SWITCHED_OFF = "USAGE_INTERVAL is 0"
# A link that is back within so many seconds is no news for whoever is on call.
_MOMENT = 1.0


class StatusLog:
    """What has been logged. Threads may share it: at worst, a line comes twice."""

    def __init__(self) -> None:
        # Nobody needs to be told that all is well.
        self._state: tuple[str, str | None] = ("live", None)
        self._down_since: float | None = None
        self._problems: Sequence[str] = ()
        self._trouble: str | None = None
        self._uncollected: str | None = None

    def note(self, report: Mapping[str, Any]) -> None:
        """Log what differs from what was logged last."""
        mode = report["mode"]
        if mode in ("idle", "starting", "direct"):
            return
        if self._is_for_a_moment(mode):
            return
        state = (mode, None if mode == "down" else report["why"])
        if state != self._state:
            before, self._state = self._state, state
            _log_state(before[0], mode, report["why"])
        self._note_problems(report["problems"])
        self._note_usage(report["uncollected"])

    def _is_for_a_moment(self, mode: str) -> bool:
        """Whether the link has only just been lost, so that there is nothing to tell yet."""
        if mode != "down":
            if self._down_since is not None and self._state[0] != "down":
                logger.info("the connection to the database was lost for a moment")
            self._down_since = None
            return False
        if self._down_since is None:
            self._down_since = time.monotonic()
        return self._state[0] != "down" and time.monotonic() - self._down_since < _MOMENT

    def note_late_start(self, report: Mapping[str, Any]) -> None:
        """Log that a question was answered by its default."""
        if report["ready"] or self._state[0] == "down":
            return
        self._state = ("down", None)
        why = report["last_error"] or "the first load takes longer than STARTUP_TIMEOUT"
        logger.warning("flags are not loaded yet, questions answer their default: %s", why)

    def note_trouble(self, trouble: str | None) -> None:
        """Log what keeps new connection settings from being read, None where nothing does."""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                logger.warning("new connection settings cannot be had: %s", trouble)

    def _note_problems(self, problems: Sequence[str]) -> None:
        before, self._problems = self._problems, problems
        new = [problem for problem in problems if problem not in before]
        if new:
            rest = f"; and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
            logger.warning("%s%s", "; ".join(new[:_NAMED]), rest)

    def _note_usage(self, why: str | None) -> None:
        if why != self._uncollected:
            self._uncollected = why
            if why is None:
                logger.info("usage is collected again")
            elif why != _SWITCHED_OFF:
                logger.warning("usage not collected: %s", why)


def _log_state(before: str, mode: str, why: str | None) -> None:
    if mode == "down":
        logger.warning("flags are kept from the last load: %s", why)
    elif before == "down":
        logger.warning("flags are up to date again (%s)", f"{mode}: {why}" if why else mode)
    elif mode == "reload":
        logger.warning("flags are read whole at each poll: %s", why)
    elif mode == "poll":
        logger.info("flags are polled, not listened for: %s", why)
    else:
        logger.info("flags are listened for")
