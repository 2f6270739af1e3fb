"""For each request: `request.flags`, one moment for all its questions, and who acts in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from flagstaff._attribution.context import Attribution, attributed, attribution
from flagstaff._engine.request_flags import RequestFlags

__all__ = ["FlagstaffMiddleware", "RequestFlags"]


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
        with attributed(_attribution_of(request)):
            return self.get_response(request)

    async def _answer_async(self, request: HttpRequest) -> Any:
        with attributed(_attribution_of(request)):
            return await self.get_response(request)


def _attribution_of(request: HttpRequest) -> Attribution:
    # Neither the user nor the view is known yet, and most requests write nothing.
    return lambda: attribution(getattr(request, "user", None), source=_source(request))


def _source(request: HttpRequest) -> str:
    match = request.resolver_match
    return "admin" if match is not None and "admin" in match.app_names else "web"
