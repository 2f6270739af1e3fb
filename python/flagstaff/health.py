"""How this worker is, for load balancers, monitors and people: `include("flagstaff.health")`.

None of the addresses asks the database, but for `details`, which is for people who are logged in.
What the others say names no flag, host or user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_permission_codename
from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from flagstaff._engine import lifecycle
from flagstaff._engine.exposition import CONTENT_TYPE, exposition
from flagstaff._engine.status import Status, status
from flagstaff.conf import conf

__all__ = ["app_name", "details", "fresh", "live", "metrics", "ready", "urlpatterns"]

_View = Callable[[HttpRequest], HttpResponse]

_OK, _UNAVAILABLE = 200, 503


def _for_machines(view: _View) -> _View:
    """Asked by who does not log in, and answered while the database is away."""
    for alias in connections:
        # With ATOMIC_REQUESTS there would be a transaction on each of them.
        view = transaction.non_atomic_requests(using=alias)(view)
    return require_safe(never_cache(login_not_required(view)))


@_for_machines
def live(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all.

    It looks at nothing: whatever is wrong with flags, a restart would only lose the last answers.
    """
    return JsonResponse({"live": True})


@_for_machines
def ready(request: HttpRequest) -> HttpResponse:
    """200 once there is something to answer from, and from then on; 503 before.

    Starts the engine, as a question would, and waits for the first load as the first one does.
    """
    now = _begun()
    return _said(now, _OK if now.ready else _UNAVAILABLE)


@_for_machines
def fresh(request: HttpRequest) -> HttpResponse:
    """200 while the answers are not older than MAX_STALENESS, 503 otherwise. For alarms."""
    now = _begun()
    return _said(now, _OK if now.ready and not now.stale else _UNAVAILABLE)


@_for_machines
def metrics(request: HttpRequest) -> HttpResponse:
    """The status of this worker in the text format of Prometheus. Starts nothing."""
    lifecycle.look_after()
    return HttpResponse(exposition(status()), content_type=CONTENT_TYPE)


@require_safe
@never_cache
def details(request: HttpRequest) -> HttpResponse:
    """The whole status, for staff who may view flags. There is no such page for anybody else."""
    if not _may_view_flags(getattr(request, "user", None)):
        raise Http404
    return JsonResponse(status().as_dict())


def _begun() -> Status:
    lifecycle.begin()
    # A worker that is asked nothing else should write its changes of state into the log too.
    lifecycle.look_after()
    return status()


def _said(now: Status, code: int) -> HttpResponse:
    told = {"ready": now.ready, "stale": now.stale, "mode": now.mode, "age": now.age}
    return JsonResponse(told, status=code)


def _may_view_flags(user: Any) -> bool:
    options = conf.flag_model._meta
    permission = f"{options.app_label}.{get_permission_codename('view', options)}"
    # Permissions of who is not active count for nothing.
    return bool(getattr(user, "is_staff", False)) and bool(user.has_perm(permission))


app_name = "flagstaff_health"
urlpatterns = [
    path("live", live, name="live"),
    path("ready", ready, name="ready"),
    path("fresh", fresh, name="fresh"),
    path("metrics", metrics, name="metrics"),
    path("details", details, name="details"),
]
