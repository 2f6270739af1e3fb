from __future__ import annotations

import os

from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from crowd.observer import Observer
from crowd.stream import events
from flagstaff.models import FeatureFlag
from store.flags import NEW_CHECKOUT

# A browser opens at most six connections to a server. The admin needs the other two.
MAX_PANELS = 4
# More dots do not fit on a screen with four panels.
MAX_USERS = 400


def crowd_users() -> list[tuple[int, str]]:
    """Returns the primary key and the username of each customer."""
    customers = get_user_model().objects.filter(is_staff=False, is_active=True)
    return list(customers.order_by("pk").values_list("pk", "username")[:MAX_USERS])


def crowd(request: HttpRequest) -> HttpResponse:
    key = request.GET.get("flag", str(NEW_CHECKOUT))
    # Each dot is a user.
    of_users = FeatureFlag.objects.filter(bucket_by="user")
    flags = dict(of_users.order_by("key").values_list("key", "pk"))
    admin_url = (
        reverse("admin:flagstaff_featureflag_change", args=[flags[key]])
        if key in flags
        else reverse("admin:flagstaff_featureflag_changelist")
    )
    workers = int(os.environ.get("WORKERS", "1"))
    context = {
        "key": key,
        "flags": flags,
        "admin_url": admin_url,
        "names": [username for _, username in crowd_users()],
        "workers": workers,
        "panels": min(workers, MAX_PANELS),
    }
    return render(request, "crowd/crowd.html", context)


def stream(request: HttpRequest) -> HttpResponseBase:
    """Streams the evaluations of this worker, unless the page is connected to it already.

    The kernel chooses the worker. So the page sends the pids it has (`?connected=pid,pid`), and
    one of these workers answers 204: the page tries again.
    """
    if str(os.getpid()) in request.GET.get("connected", "").split(","):
        return HttpResponse(status=204)
    observer = Observer(request.GET.get("flag", str(NEW_CHECKOUT)), [pk for pk, _ in crowd_users()])
    # A long stream needs no connection. A test must keep the one of its transaction.
    if not connection.in_atomic_block:
        connection.close()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(
        events(observer), content_type="text/event-stream", headers=headers
    )
