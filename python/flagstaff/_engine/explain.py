"""Evaluation details: the result of `flag_enabled`, and why."""

from __future__ import annotations

from dataclasses import dataclass

from flagstaff import _core
from flagstaff.typing import UserLike

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
    #: The flag's rollout in percent; None if there is no flag, and with an override.
    rollout_percent: int | None
    #: "FLAGSTAFF_FORCE_OFF" if the environment of this process decides in place of the flag's row,
    #: "override_flag" if a test does, else None.
    override: str | None = None


def explain(key: str, user: UserLike = None) -> Explanation:
    """Returns the result of `flag_enabled(key, user)`, and why.

    It runs the same code as `flag_enabled`. It reads the user, even if the result does not depend
    on it, unless there is an override. Raises TypeError if `user` has a wrong type. Does not block.
    """
    return Explanation(key, *_core.explain(key, user))
