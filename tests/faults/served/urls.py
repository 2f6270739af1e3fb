from __future__ import annotations

import asyncio
import os
import sys
import threading
from importlib import import_module

from django.http import HttpRequest, JsonResponse
from django.urls import path

from flagstaff import flag_enabled, get_value, status

__all__ = ["urlpatterns"]


def answer(request: HttpRequest) -> JsonResponse:
    """What this process says, asked here and now."""
    gateway, enabled = get_value("gateway"), flag_enabled("new_checkout", 3)
    return JsonResponse(
        {
            "pid": os.getpid(),
            "thread": threading.get_ident(),
            "gateway": gateway,
            "enabled": enabled,
            "mode": status().mode,
        }
    )


async def answer_in_the_loop(request: HttpRequest) -> JsonResponse:
    """The same, and how long the event loop was held up by the question."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    gateway = get_value("gateway")
    took = loop.time() - begun
    return JsonResponse(
        {"pid": os.getpid(), "gateway": gateway, "mode": status().mode, "took": took}
    )


def survey(request: HttpRequest, users: int) -> JsonResponse:
    """As many questions as there are users."""
    yes = sum(flag_enabled("surveyed", user) for user in range(1, users + 1))
    return JsonResponse({"pid": os.getpid(), "yes": yes})


urlpatterns = [
    path("", answer),
    path("loop", answer_in_the_loop),
    path("survey/<int:users>", survey),
]

if os.environ.get("EXTRA_FOLDER"):
    sys.path.append(os.environ["EXTRA_FOLDER"])
    import_module("watched_by_the_reloader")
