"""Pages that evaluate a watched flag."""

from __future__ import annotations

import asyncio
import os

from django.http import HttpRequest, JsonResponse
from django.urls import path

from flagstaff import flag_enabled

KEY = "new_checkout"


def index(request: HttpRequest) -> JsonResponse:
    """Evaluates no flag. Shows that the server responds."""
    return JsonResponse({"pid": os.getpid()})


def buy(request: HttpRequest, user: int) -> JsonResponse:
    """Evaluates the flag. Fails for every tenth user who has it."""
    enabled = flag_enabled(KEY, user)
    if enabled and user % 10 == 0:
        raise RuntimeError("a planted fault")
    return JsonResponse({"pid": os.getpid(), "enabled": enabled})


async def buy_in_event_loop(request: HttpRequest, user: int) -> JsonResponse:
    """The same as an async view."""
    await asyncio.sleep(0)
    return buy(request, user)


urlpatterns = [
    path("", index),
    path("buy/<int:user>", buy),
    path("loop/<int:user>", buy_in_event_loop),
]
