from __future__ import annotations

import os

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from crowd.members import members
from crowd.stream import aevents, events
from crowd.watch import Watch
from flagstaff.models import FeatureFlag
from store.standing import NEW_CHECKOUT

# A browser opens six connections to a server. The page takes four, the admin needs the rest.
MOST_PANELS = 4


def crowd(request: HttpRequest) -> HttpResponse:
    key = request.GET.get("flag", NEW_CHECKOUT)
    flags = dict(FeatureFlag.objects.order_by("key").values_list("key", "pk"))
    admin_page = (
        reverse("admin:flagstaff_featureflag_change", args=[flags[key]])
        if key in flags
        else reverse("admin:flagstaff_featureflag_changelist")
    )
    workers = int(os.environ.get("WORKERS", "1"))
    context = {
        "key": key,
        "flags": flags,
        "admin_page": admin_page,
        "names": [username for _, username in members()],
        "workers": workers,
        "panels": min(workers, MOST_PANELS),
    }
    return render(request, "crowd/crowd.html", context)


def stream(request: HttpRequest) -> HttpResponseBase:
    """The crowd as this worker sees it, unless the page already has this worker.

    Which worker answers is the kernel's choice. So the page says whom it has (`?have=pid,pid`),
    and a worker that is among them sends it away to try again.
    """
    if str(os.getpid()) in request.GET.get("have", "").split(","):
        return HttpResponse(status=204)
    watch = Watch(request.GET.get("flag", NEW_CHECKOUT), [pk for pk, _ in members()])
    # A stream lives long and asks nothing more of the database. A test's transaction lives on.
    if not connection.in_atomic_block:
        connection.close()
    told = aevents(watch) if isinstance(request, ASGIRequest) else events(watch)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(told, content_type="text/event-stream", headers=headers)
