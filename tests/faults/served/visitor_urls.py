"""Pages that depend on a visitor, and the log-in."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.cache import cache_control

__all__ = ["urlpatterns"]


def front(request: Any) -> JsonResponse:
    """Returns the result, and the visitor that it was computed for."""
    enabled = request.flags.enabled("new_front")
    user = request.session.get("_auth_user_id")
    return JsonResponse(
        {
            "pid": os.getpid(),
            "enabled": enabled,
            "visitor": request.flags.context.visitor_id,
            "user": user,
        }
    )


@cache_control(public=True, max_age=600)
def public_front(request: Any) -> JsonResponse:
    """The same, without a user, and marked for shared caches."""
    enabled = request.flags.enabled("new_front")
    return JsonResponse({"enabled": enabled, "visitor": request.flags.context.visitor_id})


@cache_control(public=True, max_age=600)
def imprint(request: Any) -> JsonResponse:
    """A page that is the same for all."""
    return JsonResponse({"pid": os.getpid()})


def log_in(request: Any) -> JsonResponse:
    """Logs alice in."""
    login(request, User.objects.get(username="alice"))
    return JsonResponse({})


def log_out(request: Any) -> JsonResponse:
    """Logs the user out."""
    logout(request)
    return JsonResponse({})


urlpatterns = [
    path("", front),
    path("public", public_front),
    path("imprint", imprint),
    path("login", log_in),
    path("logout", log_out),
]
