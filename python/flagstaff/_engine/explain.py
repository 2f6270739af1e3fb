"""How an answer comes about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flagstaff import _core

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """An answer, and what it was made from."""

    key: str
    #: What `flag_enabled` answers, with False for its default.
    value: bool
    #: DISABLED, TARGETING_MATCH, STATIC, DEFAULT, SPLIT or ERROR.
    reason: str
    #: PROVIDER_NOT_READY or FLAG_NOT_FOUND where the reason is ERROR.
    error_code: str | None
    #: Where the user stands in the ramp, 0 to 99; None where nobody asked.
    bucket: int | None
    #: The rollout of the flag, None where there is no flag.
    rollout_percent: int | None


def explain(key: str, user: Any = None) -> Explanation:
    """Say how `flag_enabled(key, user)` comes to its answer.

    It is the same walk, seen: the reason names the step that decided. Reads the user in any case,
    also where the answer does not depend on it. Raises TypeError for a wrong type.
    """
    value, reason, error_code, bucket, rollout_percent = _core.explain(key, user)
    return Explanation(key, value, reason, error_code, bucket, rollout_percent)
