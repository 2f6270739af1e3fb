"""Evaluates a flag for all users of the crowd page, in one worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import monotonic, perf_counter_ns

from flagstaff import snapshot, status

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
        # One snapshot, so that a change never shows in half of the users.
        current = snapshot()
        found = current.explain(self.key)
        rollout = _rollout(found["reason"], found["error_code"], found["rollout_percent"])
        started = perf_counter_ns()
        enabled = "".join("1" if current.flag_enabled(self.key, pk) else "0" for pk in self.pks)
        elapsed = perf_counter_ns() - started
        now = status()
        state = (enabled, rollout, now.version, now.mode)
        if state == self._sent and monotonic() < self._next_heartbeat:
            return None
        self._sent = state
        self._next_heartbeat = monotonic() + HEARTBEAT
        reasons = [current.explain(self.key, pk)["reason"] for pk in self.pks]
        data = {
            "pid": now.pid,
            "mode": now.mode,
            "version": now.version,
            "age": now.age,
            "enabled": enabled,
            "allowed": [i for i, reason in enumerate(reasons) if reason == "TARGETING_MATCH"],
            "rollout": rollout,
            "microseconds": elapsed / 1000,
        }
        return f"data: {json.dumps(data)}\n\n"


def _rollout(reason: str, error_code: str | None, percent: int | None) -> str:
    if error_code:
        return error_code.replace("_", " ").lower()
    return "off" if reason == "DISABLED" else f"rollout {percent} %"
