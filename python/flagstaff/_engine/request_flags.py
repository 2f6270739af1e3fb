"""`request.flags`: the questions of one request, all answered from one moment of the database."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

from django.http import HttpRequest

from flagstaff import _core

__all__ = ["Evaluator", "RequestFlags", "evaluator_of", "flags_of", "user_of"]


class Evaluator(Protocol):
    """What answers: a pinned moment, or whatever is true when it is asked."""

    def flag_enabled(self, key: str, user: Any = None, *, default: bool = False) -> bool:
        """Whether the flag `key` is on for `user`."""

    def get_value(self, key: str, default: Any = None) -> Any:
        """The value of a setting."""

    def depends_on_user(self, key: str) -> bool:
        """Whether the flag's answer differs between users."""


class RequestFlags:
    """The flags of a request's user, and the settings, at one moment of the database.

    The moment is that of the first question, so a request that asks nothing costs nothing.

        request.flags.enabled("new_checkout")
        request.flags.value("payment_gateway", "stripe")

    In templates `{{ request.flags.new_checkout }}` works too, for keys without a dot.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def snapshot(self) -> _core.Snapshot:
        """The moment that all answers are of."""
        return _core.snapshot()

    @property
    def _user(self) -> Any:
        return getattr(self._request, "user", None)

    def enabled(self, key: str, *, default: bool = False) -> bool:
        """Whether the request's user has the flag."""
        return self.snapshot.flag_enabled(key, self._user, default=default)

    async def aenabled(self, key: str, *, default: bool = False) -> bool:
        """Whether the request's user has the flag, for async views: reads the user as they must."""
        user = await user_of(self._request, key, self.snapshot)
        return self.snapshot.flag_enabled(key, user, default=default)

    def value(self, key: str, default: Any = None) -> Any:
        """The value of a setting."""
        return self.snapshot.get_value(key, default)

    def all(self) -> dict[str, bool]:
        """Every flag's answer for the request's user."""
        return self.snapshot.all_flags(self._user)

    async def aall(self) -> dict[str, bool]:
        """Every flag's answer for the request's user, for async views."""
        user = await self._request.auser() if hasattr(self._request, "auser") else self._user
        return self.snapshot.all_flags(user)

    def client_side(self) -> dict[str, bool]:
        """The answers for the request's user, of those flags that browsers may ask for."""
        return self.snapshot.all_flags(self._user, client_side=True)

    def __getitem__(self, key: str) -> bool:
        """The same as `enabled`: what a template's dot looks for first."""
        return self.enabled(key)


def flags_of(request: HttpRequest) -> RequestFlags:
    """The request's own flags, which the middleware gave it, or which it has from now on."""
    flags = getattr(request, "flags", None)
    if not isinstance(flags, RequestFlags):
        flags = request.flags = RequestFlags(request)  # type: ignore[attr-defined]
    return flags


def evaluator_of(request: object, *, pinned: bool = False) -> Evaluator:
    """Where the questions of a request go: to its own moment where it has one, or to this one.

    Two questions that must agree want this one `pinned`: each would else be asked at its own time.
    """
    flags = getattr(request, "flags", None)
    if isinstance(flags, RequestFlags):
        return flags.snapshot
    return _core.snapshot() if pinned else _core


async def user_of(request: HttpRequest, key: str, moment: Evaluator) -> Any:
    """The user, read only where the answer depends on it; a lazy one cannot be in an event loop."""
    if not hasattr(request, "auser"):
        return getattr(request, "user", None)
    return await request.auser() if moment.depends_on_user(key) else None
