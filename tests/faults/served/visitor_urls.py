"""Pages that depend on a visitor, and the log-in."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import JsonResponse
from django.urls import path


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


def log_in(request: Any) -> JsonResponse:
    """Logs the only user in."""
    login(request, User.objects.get())
    return JsonResponse({})


def log_out(request: Any) -> JsonResponse:
    """Logs the user out."""
    logout(request)
    return JsonResponse({})


urlpatterns = [
    path("", front),
    path("login", log_in),
    path("logout", log_out),
]
