"""`request.flags`: all evaluations of one request, from one snapshot."""

from __future__ import annotations

import shlex
from functools import cached_property
from typing import Any, Protocol, TypeVar, overload

from django.conf import settings
from django.http import HttpRequest

from flagstaff import _core
from flagstaff.typing import UserLike

__all__ = ["Evaluator", "RequestFlags", "debug_message", "evaluator_of", "flags_of", "user_of"]

_T = TypeVar("_T")


class Evaluator(Protocol):
    """A snapshot, or the module `_core`, which evaluates the newest snapshot."""

    def flag_enabled(self, key: str, user: UserLike = None, *, default: bool = False) -> bool:
        """Returns whether the flag `key` is on for `user`."""

    def get_value(self, key: str, default: Any = None) -> Any:
        """Returns the value `key`, or `default` if there is none."""

    def depends_on_user(self, key: str) -> bool:
        """Returns whether the flag's result differs between users."""


class RequestFlags:
    """The flags of a request's user, and the values, from one snapshot.

    The first evaluation takes the snapshot, so a request without evaluations costs nothing.

        request.flags.enabled("new_checkout")
        request.flags.value("payment_gateway", "stripe")

    Templates may use `{{ request.flags.new_checkout }}`, for keys without a dot.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def snapshot(self) -> _core.Snapshot:
        """The snapshot of all evaluations of this request."""
        return _core.snapshot()

    @property
    def _user(self) -> UserLike:
        return getattr(self._request, "user", None)

    def enabled(self, key: str, *, default: bool = False) -> bool:
        """Returns whether the request's user has the flag."""
        return self.snapshot.flag_enabled(key, self._user, default=default)

    async def aenabled(self, key: str, *, default: bool = False) -> bool:
        """The same for async views: reads the user by `request.auser()`."""
        user = await user_of(self._request, key, self.snapshot)
        return self.snapshot.flag_enabled(key, user, default=default)

    @overload
    def value(self, key: str, default: None = None) -> Any: ...
    @overload
    def value(self, key: str, default: _T) -> Any | _T: ...
    def value(self, key: str, default: object = None) -> Any:
        """Returns the value `key`, or `default` if there is none."""
        return self.snapshot.get_value(key, default)

    def all(self) -> dict[str, bool]:
        """Returns the results of all flags for the request's user."""
        return self.snapshot.all_flags(self._user)

    async def aall(self) -> dict[str, bool]:
        """The same for async views: reads the user by `request.auser()`."""
        user = await self._request.auser() if hasattr(self._request, "auser") else self._user
        return self.snapshot.all_flags(user)

    def client_side(self) -> dict[str, bool]:
        """Returns the results of the flags with `client_side` set."""
        return self.snapshot.all_flags(self._user, client_side=True)

    def __getitem__(self, key: str) -> bool:
        """The same as `enabled`, for the dot in templates."""
        return self.enabled(key)


def flags_of(request: HttpRequest) -> RequestFlags:
    """Returns `request.flags`. Sets it if the middleware is not installed."""
    flags = getattr(request, "flags", None)
    if not isinstance(flags, RequestFlags):
        flags = request.flags = RequestFlags(request)  # type: ignore[attr-defined]
    return flags


def evaluator_of(request: object, *, snapshot: bool = False) -> Evaluator:
    """Returns the snapshot of `request.flags`, or else an evaluator of the newest snapshot.

    With `snapshot=True`, several evaluations use the same snapshot in both cases.
    """
    flags = getattr(request, "flags", None)
    if isinstance(flags, RequestFlags):
        return flags.snapshot
    return _core.snapshot() if snapshot else _core


def debug_message(key: str) -> str | None:
    """Returns why a view is not shown to a user without the flag; None without DEBUG.

    Templates and clients can show it, and a key may reveal a feature that is not released yet.
    """
    if not settings.DEBUG:
        return None
    return (
        f'The flag "{key}" is off for this user. '
        f'To see why, run "manage.py flags explain {shlex.quote(key)} USER".'
    )


async def user_of(request: HttpRequest, key: str, evaluator: Evaluator) -> UserLike:
    """Returns the user, or None if the result does not depend on it.

    A lazy `request.user` would query in the event loop, so it uses `request.auser()`.
    """
    if not hasattr(request, "auser"):
        return getattr(request, "user", None)
    return await request.auser() if evaluator.depends_on_user(key) else None
