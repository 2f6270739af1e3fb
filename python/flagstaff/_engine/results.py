"""Evaluations of the newest snapshot that are not as frequent as `flag_enabled` and `get_value`."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from flagstaff import _core
from flagstaff._types import Context, UserLike

_T = TypeVar("_T")


@overload
def resolve_value(
    key: str, default: None = None, *, user: UserLike = None, context: Context = None
) -> _core.Resolution[Any]: ...
@overload
def resolve_value(
    key: str, default: _T, *, user: UserLike = None, context: Context = None
) -> _core.Resolution[Any | _T]: ...
def resolve_value(
    key: str, default: object = None, *, user: UserLike = None, context: Context = None
) -> _core.Resolution[Any]:
    """Returns the result of `get_value` with its reason, and the rule that decided.

    Never raises for an unknown key.
    """
    return _core.current(key).resolve_value(key, default, user=user, context=context)


def all_flags(
    user: UserLike = None, *, client_side: bool = False, context: Context = None
) -> dict[str, bool]:
    """Returns the result of every flag for `user`, by key, from one snapshot. Does not block.

    With `client_side`, only the flags that browsers may evaluate. Reads the user at most once.
    Raises TypeError for a wrong type. Usage counts nothing, and has the time of the last call: with
    `client_side`, these flags are in use; without it, it is not known which flags are in use,
    because only evaluations of one key are counted.
    """
    return _core.current().all_flags(user, client_side=client_side, context=context)
