"""For each request: `request.flags`, one moment for all its questions, and who acts in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from flagstaff import _core
from flagstaff.context import Claim, claim, noted

__all__ = ["FlagstaffMiddleware", "RequestFlags"]


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
        user = None
        if self.snapshot.depends_on_user(key) and hasattr(self._request, "auser"):
            user = await self._request.auser()
        return self.snapshot.flag_enabled(key, user, default=default)

    def value(self, key: str, default: Any = None) -> Any:
        """The value of a setting."""
        return self.snapshot.get_value(key, default)

    def all(self) -> dict[str, bool]:
        """Every flag's answer for the request's user."""
        return self.snapshot.all_flags(self._user)

    def __getitem__(self, key: str) -> bool:
        """The same as `enabled`: what a template's dot looks for first."""
        return self.enabled(key)


class FlagstaffMiddleware:
    """Gives each request its `flags`, and notes its user for the history.

    Put it after AuthenticationMiddleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response: Callable[[HttpRequest], Any] = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer the request."""
        request.flags = RequestFlags(request)  # type: ignore[attr-defined]
        if self.is_async:
            return self._answer_async(request)
        with noted(_claim(request)):
            return self.get_response(request)

    async def _answer_async(self, request: HttpRequest) -> Any:
        with noted(_claim(request)):
            return await self.get_response(request)


def _claim(request: HttpRequest) -> Claim:
    # Neither the user nor the view is known yet, and most requests write nothing.
    return lambda: claim(getattr(request, "user", None), door=_door(request))


def _door(request: HttpRequest) -> str:
    match = request.resolver_match
    return "admin" if match is not None and "admin" in match.app_names else "web"
