"""Requests for the tests of rollout plans. A worker runs them by the command "call"."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

import flagstaff
from flagstaff.middleware import FlagstaffMiddleware

_FACTORY = RequestFactory()


def requests(key: str, users: Sequence[Any], status: int = 200) -> None:
    """Handles one request per user, which evaluates the flag and has this status."""

    def view(request: HttpRequest) -> HttpResponse:
        flagstaff.flag_enabled(key, request.user_pk)  # type: ignore[attr-defined]
        return HttpResponse(status=status)

    middleware = FlagstaffMiddleware(view)
    for user in users:
        request = _FACTORY.get("/")
        request.user_pk = user  # type: ignore[attr-defined]
        middleware(request)


def requests_async(key: str, users: Sequence[Any], status: int = 200) -> None:
    """The same under an event loop, with all requests at the same time."""

    async def view(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        flagstaff.flag_enabled(key, request.user_pk)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return HttpResponse(status=status)

    async def handle_all() -> None:
        # The debug mode of tests reports slow callbacks, and the machine may be busy.
        asyncio.get_running_loop().slow_callback_duration = 60
        middleware = FlagstaffMiddleware(view)
        handled = []
        for user in users:
            request = _FACTORY.get("/")
            request.user_pk = user  # type: ignore[attr-defined]
            handled.append(middleware(request))
        await asyncio.gather(*handled)  # type: ignore[arg-type]

    asyncio.run(handle_all())


def has_problem(start: str) -> bool:
    """Whether a problem of the status begins with this text."""
    return any(problem.startswith(start) for problem in flagstaff.status().problems)
