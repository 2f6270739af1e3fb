"""Evaluates a flag for all users of the crowd page, in one worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import monotonic, perf_counter_ns

from flagstaff import explain, flag_enabled, status
from flagstaff._engine.status import Status

HEARTBEAT = 1.0  # seconds


class Observer:
    """Turns changes of a flag into server-sent events. Makes no database query."""

    def __init__(self, key: str, pks: Sequence[int]) -> None:
        self.key = key
        self.pks = pks
        self._sent: tuple[object, ...] = ()
        self._next_heartbeat = 0.0

    def next_event(self) -> str | None:
        """Returns an event after a change, and a heartbeat each second. Does not block."""
        rollout = self._rollout()  # first: starts a new worker before the time is measured
        started = perf_counter_ns()
        enabled = "".join("1" if flag_enabled(self.key, pk) else "0" for pk in self.pks)
        elapsed = perf_counter_ns() - started
        now = status()
        state = (enabled, rollout, now.version, now.mode)
        if state == self._sent and monotonic() < self._next_heartbeat:
            return None
        self._sent = state
        self._next_heartbeat = monotonic() + HEARTBEAT
        return self._event(enabled, rollout, elapsed / 1000, now)

    def _event(self, enabled: str, rollout: str, microseconds: float, now: Status) -> str:
        data = {
            "pid": now.pid,
            "mode": now.mode,
            "version": now.version,
            "age": now.age,
            "enabled": enabled,
            "allowed": self._allowed(),
            "rollout": rollout,
            "microseconds": microseconds,
        }
        return f"data: {json.dumps(data)}\n\n"

    def _allowed(self) -> list[int]:
        """The indexes of the allowed users."""
        reasons = (explain(self.key, pk).reason for pk in self.pks)
        return [index for index, reason in enumerate(reasons) if reason == "TARGETING_MATCH"]

    def _rollout(self) -> str:
        flag = explain(self.key)
        if flag.error_code:
            return flag.error_code.replace("_", " ").lower()
        return "off" if flag.reason == "DISABLED" else f"rollout {flag.rollout_percent} %"
