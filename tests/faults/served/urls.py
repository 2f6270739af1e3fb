from __future__ import annotations

import asyncio
import os
import sys
import threading
from importlib import import_module

from django.http import HttpRequest, JsonResponse
from django.urls import path

from flagstaff import flag_enabled, get_value, status


def read(request: HttpRequest) -> JsonResponse:
    """Returns what this process sees."""
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


async def read_in_event_loop(request: HttpRequest) -> JsonResponse:
    """Returns what this process sees, and for how long the evaluation blocked the event loop."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    gateway = get_value("gateway")
    took = loop.time() - started
    return JsonResponse(
        {"pid": os.getpid(), "gateway": gateway, "mode": status().mode, "took": took}
    )


def survey(request: HttpRequest, users: int) -> JsonResponse:
    """Evaluates a flag for each user, and returns for how many it is on."""
    enabled = sum(flag_enabled("surveyed", user) for user in range(1, users + 1))
    return JsonResponse({"pid": os.getpid(), "enabled": enabled})


def openfeature_events(request: HttpRequest) -> JsonResponse:
    """Returns the events of this process. Evaluates nothing."""
    from tests.support.openfeature_events import events

    return JsonResponse(events())


urlpatterns = [
    path("", read),
    path("loop", read_in_event_loop),
    path("survey/<int:users>", survey),
    path("events", openfeature_events),
]

if os.environ.get("EXTRA_FOLDER"):
    sys.path.append(os.environ["EXTRA_FOLDER"])
    import_module("watched_by_the_reloader")
