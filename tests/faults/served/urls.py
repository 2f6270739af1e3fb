import asyncio
import os
import sys
from importlib import import_module

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from flagstaff import flag_enabled, get_value, status


def read(request: HttpRequest) -> JsonResponse:
    """Returns what this process sees."""
    gateway, enabled = get_value("gateway"), flag_enabled("new_checkout", 3)
    now = {"pid": os.getpid(), "gateway": gateway, "enabled": enabled, "mode": status().mode}
    return JsonResponse(now)


async def read_in_event_loop(request: HttpRequest) -> JsonResponse:
    """Returns what this process sees, and for how long the evaluation blocked the event loop."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    gateway = get_value("gateway")
    took = loop.time() - started
    now = {"pid": os.getpid(), "gateway": gateway, "mode": status().mode, "took": took}
    return JsonResponse(now)


def survey(request: HttpRequest, users: int) -> JsonResponse:
    """Evaluates a flag for each user, and returns for how many it is on."""
    enabled = sum(flag_enabled("surveyed", user) for user in range(1, users + 1))
    return JsonResponse({"pid": os.getpid(), "enabled": enabled})


def show_process(request: HttpRequest) -> JsonResponse:
    """Evaluates nothing. Shows that the server responds."""
    return JsonResponse({"pid": os.getpid()})


def buy(request: HttpRequest, user: int) -> JsonResponse:
    """Evaluates a flag. Fails for every tenth user who has it."""
    enabled = flag_enabled("new_checkout", user)
    if enabled and user % 10 == 0:
        raise RuntimeError("a planted fault")
    return JsonResponse({"pid": os.getpid(), "enabled": enabled})


async def buy_in_event_loop(request: HttpRequest, user: int) -> JsonResponse:
    """The same as an async view."""
    await asyncio.sleep(0)
    return buy(request, user)


def openfeature_events(request: HttpRequest) -> JsonResponse:
    """Returns the events of this process. Evaluates nothing."""
    from tests.support.openfeature_events import events

    return JsonResponse(events())


urlpatterns = [
    path("", read),
    path("loop", read_in_event_loop),
    path("survey/<int:users>", survey),
    path("events", openfeature_events),
    path("process", show_process),
    path("buy/<int:user>", buy),
    path("buy/loop/<int:user>", buy_in_event_loop),
    path("", include("tests.faults.served.pages_of_users")),
]

if os.environ.get("EXTRA_FOLDER"):
    sys.path.append(os.environ["EXTRA_FOLDER"])
    import_module("watched_by_the_reloader")
