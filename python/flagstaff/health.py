"""Health and metrics endpoints of a worker. Include them: `include("flagstaff.health")`.

No endpoint queries the database, except `jobs`, and `details`, which needs a login. The responses
of the others contain no names of flags, hosts or users.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from flagstaff._connection import outside_transactions
from flagstaff._core import start
from flagstaff._engine import lifecycle
from flagstaff._jobs import job_metrics_text
from flagstaff._workers.status import CONTENT_TYPE, Status, prometheus_text, status
from flagstaff.actions.table import user_may
from flagstaff.conf import conf
from flagstaff.waiting.outlook import numbers_to_look_at

__all__ = ["app_name", "details", "fresh", "jobs", "live", "metrics", "ready", "urlpatterns"]

_View = Callable[[HttpRequest], HttpResponse]

_OK, _UNAVAILABLE = 200, 503


def _public(view: _View) -> _View:
    """Needs no login and no transaction."""
    return require_safe(never_cache(login_not_required(outside_transactions(view))))


@_public
def live(request: HttpRequest) -> HttpResponse:
    """Returns 200 if the process responds. For liveness probes.

    Checks nothing else: a restart does not repair flags, it only loses the last good snapshot.
    """
    return JsonResponse({"live": True})


@_public
def ready(request: HttpRequest) -> HttpResponse:
    """Returns 200 after the first load, 503 before. For readiness probes.

    Starts the engine and waits for the first load, as an evaluation does.
    """
    now = _started()
    return _response(now, _OK if now.ready else _UNAVAILABLE)


@_public
def fresh(request: HttpRequest) -> HttpResponse:
    """Returns 200 if the snapshot is not older than MAX_STALENESS, else 503. For alerts."""
    now = _started()
    return _response(now, _OK if now.ready and not now.stale else _UNAVAILABLE)


@_public
def metrics(request: HttpRequest) -> HttpResponse:
    """Returns the metrics of this worker in Prometheus' text format. Does not start the engine."""
    lifecycle.run_maintenance()
    return HttpResponse(prometheus_text(status()), content_type=CONTENT_TYPE)


@_public
def jobs(request: HttpRequest) -> HttpResponse:
    """Returns the metrics of `run-jobs` in Prometheus' text format, or 503 without the database.

    The same in each worker. Makes a query for the last run, and one for each kind of backlog.
    """
    try:
        text, code = job_metrics_text(), _OK
    except Error as error:
        # Only the type: the message may quote data.
        text, code = f"# the database cannot be read: {type(error).__name__}\n", _UNAVAILABLE
    return HttpResponse(text, content_type=CONTENT_TYPE, status=code)


@require_safe
@never_cache
def details(request: HttpRequest) -> HttpResponse:
    """Returns the full status to staff who may view flags. A 404 for other users.

    Also the numbers of the actions that wait and will not run, or are overdue.
    """
    if not _may_view_flags(getattr(request, "user", None)):
        raise Http404
    return JsonResponse({**status().as_dict(), "waiting": numbers_to_look_at()})


def _started() -> Status:
    start()
    # Logs changes of state, in a worker without evaluations too.
    lifecycle.run_maintenance()
    return status()


def _response(now: Status, code: int) -> HttpResponse:
    content = {"ready": now.ready, "stale": now.stale, "mode": now.mode, "age": now.age}
    return JsonResponse(content, status=code)


def _may_view_flags(user: Any) -> bool:
    # Django's permissions are False for inactive users.
    return bool(getattr(user, "is_staff", False)) and user_may(user, "view", conf.flag_model)


app_name = "flagstaff_health"
urlpatterns = [
    path("live", live, name="live"),
    path("ready", ready, name="ready"),
    path("fresh", fresh, name="fresh"),
    path("metrics", metrics, name="metrics"),
    path("jobs", jobs, name="jobs"),
    path("details", details, name="details"),
]
