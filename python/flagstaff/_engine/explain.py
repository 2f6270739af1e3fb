"""Evaluation details: the result of `flag_enabled`, and why."""

from __future__ import annotations

from dataclasses import dataclass

from flagstaff import _core

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """The result of an evaluation, with its reason."""

    key: str
    #: What `flag_enabled` returns, with False for its default.
    value: bool
    #: DISABLED, TARGETING_MATCH, STATIC, DEFAULT, SPLIT or ERROR.
    reason: str
    #: PROVIDER_NOT_READY or FLAG_NOT_FOUND if the reason is ERROR.
    error_code: str | None
    #: The user's bucket, 0 to 99; None without a user.
    bucket: int | None
    #: The flag's rollout in percent; None if there is no flag.
    rollout_percent: int | None


def explain(key: str, user: object = None) -> Explanation:
    """Returns the result of `flag_enabled(key, user)`, and why.

    It runs the same code as `flag_enabled`. It always reads the user, also if the result does not
    depend on it. Raises TypeError if `user` has a wrong type.
    """
    value, reason, error_code, bucket, rollout_percent = _core.explain(key, user)
    return Explanation(key, value, reason, error_code, bucket, rollout_percent)
