"""One pair of eyes on the crowd, in one worker: looks again and again, speaks when it must."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import monotonic, perf_counter_ns

from flagstaff import explain, flag_enabled, status
from flagstaff._engine.status import Status

HEARTBEAT = 1.0


class Watch:
    """Asks for every member at each look. Nothing in here reaches the database."""

    def __init__(self, key: str, pks: Sequence[int]) -> None:
        self.key = key
        self.pks = pks
        self._told: tuple[object, ...] = ()
        self._due = 0.0

    def look(self) -> str | None:
        """What to tell the page now: a change at once, otherwise a sign of life each second."""
        rollout = self._rollout()  # first, so that no clock runs while a new worker loads
        started = perf_counter_ns()
        lit = "".join("1" if flag_enabled(self.key, pk) else "0" for pk in self.pks)
        elapsed = perf_counter_ns() - started
        now = status()
        seen = (lit, rollout, now.version, now.mode)
        if seen == self._told and monotonic() < self._due:
            return None
        self._told = seen
        self._due = monotonic() + HEARTBEAT
        return self._event(lit, rollout, elapsed / 1000, now)

    def _event(self, lit: str, rollout: str, microseconds: float, now: Status) -> str:
        told = {
            "pid": now.pid,
            "mode": now.mode,
            "version": now.version,
            "age": now.age,
            "lit": lit,
            "listed": self._listed(),
            "rollout": rollout,
            "microseconds": microseconds,
        }
        return f"data: {json.dumps(told)}\n\n"

    def _listed(self) -> list[int]:
        """Which of the dots stand on the allow-list."""
        reasons = (explain(self.key, pk).reason for pk in self.pks)
        return [index for index, reason in enumerate(reasons) if reason == "TARGETING_MATCH"]

    def _rollout(self) -> str:
        flag = explain(self.key)
        if flag.error_code:
            return flag.error_code.replace("_", " ").lower()
        return "switched off" if flag.reason == "DISABLED" else f"rollout {flag.rollout_percent} %"
