"""Evaluation details: the result of `get_variant`, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, overload

from flagstaff import _core
from flagstaff._evaluation import Explained, explanation_of
from flagstaff._types import Context, UserLike

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class VariantExplanation(Explained):
    """The result of `get_variant`, with its reason.

    DISABLED if the experiment does not run or is forced off, STATIC if a winner was shipped,
    DEFAULT without a unit, TARGETING_MATCH for an override of the unit or for rules that exclude
    it, SPLIT if the bucket decided, CRAWLER for a request that IS_CRAWLER names, LIMIT for a
    visitor that this worker has left out in this run, because too many new ones came in an hour,
    or ERROR. The bucket is one of 0 to 9,999.
    """

    #: The key of the variant; None for the default of the call.
    value: str | None
    #: Whether `get_variant` records the unit, so that it is analysed.
    is_recorded: bool
    #: How often the experiment was restarted; None without one, and with an override.
    run: int | None


def explain_variant(
    key: str, user: UserLike = None, *, context: Context = None
) -> VariantExplanation:
    """Returns the result of `get_variant(key, user, context=context)`, and why. Records nothing.

    Reads the user, even if the result does not depend on it, unless a test has set the variant.
    Raises TypeError if `user` or `context` has a wrong type. Does not block.
    """
    raw = _core.current(key).explain(key, user, context=context, kind="variant")
    return explanation_of(VariantExplanation, key, raw)


@overload
def resolve_variant(
    key: str, user: UserLike = None, *, default: None = None, context: Context = None
) -> _core.Resolution[str | None]: ...
@overload
def resolve_variant(
    key: str, user: UserLike = None, *, default: _T, context: Context = None
) -> _core.Resolution[str | _T]: ...
def resolve_variant(
    key: str, user: UserLike = None, *, default: object = None, context: Context = None
) -> _core.Resolution[Any]:
    """Returns the result of `get_variant` with its reason, and records as it does.

    Never raises for an unknown key.
    """
    return _core.current(key).resolve_variant(key, user, default=default, context=context)


@overload
def peek_variant(
    key: str, user: UserLike = None, *, default: None = None, context: Context = None
) -> str | None: ...
@overload
def peek_variant(
    key: str, user: UserLike = None, *, default: _T, context: Context = None
) -> str | _T: ...
def peek_variant(
    key: str, user: UserLike = None, *, default: object = None, context: Context = None
) -> object:
    """Returns the result of `get_variant` without a record, for code that does not show it."""
    return _core.current(key).peek_variant(key, user, default=default, context=context)
