"""Pages that evaluate for a user or a visitor, and what their tests do to the process."""

import os
import threading
from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import connection
from django.http import JsonResponse
from django.template import engines
from django.urls import include, path

from flagstaff import flag_enabled

_TAGS = (
    "{% load flagstaff %}{% flag 'staff' %}new{% else %}old{% endflag %}"
    "{% flag 'staff' user %}new{% else %}old{% endflag %}{% value 'limit' 7 user=user %}"
)
_released = threading.Event()


class CountingBackend(ModelBackend):
    """Counts how often a user is read."""

    reads = 0

    def get_user(self, user_id: int) -> Any:
        CountingBackend.reads += 1
        return super().get_user(user_id)

    async def aget_user(self, user_id: int) -> Any:
        CountingBackend.reads += 1
        return await super().aget_user(user_id)


def front(request: Any) -> JsonResponse:
    """Returns the result for a visitor, and the visitor that it was computed for."""
    enabled, visitor = request.flags.enabled("new_front"), request.flags.context.visitor_id
    result = {"pid": os.getpid(), "enabled": enabled, "visitor": visitor}
    return JsonResponse(result | {"user": request.session.get("_auth_user_id")})


def page(request: Any) -> JsonResponse:
    """Returns the results of this request, and how often it has read its user."""
    CountingBackend.reads = 0
    results = {
        "tags": engines["django"].from_string(_TAGS).render({}, request),
        "function": flag_enabled("staff", request.user),
        "flags": [request.flags.enabled("staff"), request.flags.all()["staff"]],
        "value": request.flags.value("limit", 7),
    }
    return JsonResponse(results | {"reads": CountingBackend.reads})


async def async_page(request: Any) -> JsonResponse:
    """Returns the same from an async view."""
    CountingBackend.reads = 0
    flags = request.flags
    results = {
        "flags": [await flags.aenabled("staff"), (await flags.aall())["staff"]],
        "value": await flags.avalue("limit", 7),
    }
    return JsonResponse(results | {"reads": CountingBackend.reads})


def log_in(request: Any) -> JsonResponse:
    """Logs the only user in."""
    login(request, User.objects.get())
    return JsonResponse({"pid": os.getpid()})


def log_out(request: Any) -> JsonResponse:
    logout(request)
    return JsonResponse({})


def set_host(request: Any, host: str) -> JsonResponse:
    """Connects to another host from now on."""
    connection.settings_dict["HOST"] = host
    return JsonResponse({})


def hold(request: Any) -> JsonResponse:
    """Holds a connection in another thread until `release` is called."""
    held = threading.Event()

    def hold_connection() -> None:
        connection.ensure_connection()
        held.set()
        _released.wait()
        connection.close()

    _released.clear()
    threading.Thread(target=hold_connection, daemon=True).start()
    held.wait()
    return JsonResponse({})


def release(request: Any) -> JsonResponse:
    """Ends what `hold` has begun."""
    _released.set()
    return JsonResponse({})


urlpatterns = [
    path("page", page),
    path("page/async", async_page),
    path("front", front),
    path("login", log_in),
    path("logout", log_out),
    path("host/<str:host>", set_host),
    path("hold", hold),
    path("release", release),
    path("", include("flagstaff.contrib.ofrep.urls")),
]
