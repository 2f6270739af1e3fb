"""Evaluates a flag for all users of the crowd page, in one worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import monotonic, perf_counter_ns

from crowd.chance import likely_range
from flagstaff import snapshot, status

HEARTBEAT = 1.0  # seconds
ALL_USERS = 100


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
        reason, percent = found["reason"], found["rollout_percent"]
        rollout = _rollout(reason, found["error_code"], percent)
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
            "chance": _chance(reason, percent, enabled, reasons),
            "microseconds": elapsed / 1000,
        }
        return f"data: {json.dumps(data)}\n\n"


def _chance(
    reason: str, percent: int | None, enabled: str, reasons: Sequence[str]
) -> dict[str, int] | None:
    """How many users have the flag by its rollout, beside the number that is likely by chance."""
    if reason == "DISABLED" or percent is None or not 0 < percent < ALL_USERS:
        return None
    # Allowed users have the flag at any percentage.
    results = [
        result
        for result, reason in zip(enabled, reasons, strict=True)
        if reason != "TARGETING_MATCH"
    ]
    low, high = likely_range(len(results), percent)
    return {
        "percent": percent,
        "users": len(results),
        "enabled": results.count("1"),
        "low": low,
        "high": high,
    }


def _rollout(reason: str, error_code: str | None, percent: int | None) -> str:
    if error_code:
        return error_code.replace("_", " ").lower()
    return "off" if reason == "DISABLED" else f"rollout {percent} %"
