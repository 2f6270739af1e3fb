"""The cost of rollout plans for a request: instructions of an empty page, counted by valgrind.

    python -m benches.observed_requests        (beside a DATABASE_URL; needs valgrind)

A page that only evaluates one flag is handled with Django's usual middleware. It is counted in
three projects: without the app, with the app and no plan, and with a plan that measures the flag.
Only the thread that handles the requests counts, after some requests.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any

from benches._project import count_instructions, set_up

TIMES = 500
WARM_UP = 20
APP = "flagstaff.rollouts"
KEY = "flag_1"


def main() -> int:
    """Counts and prints; in the counted process, handles requests."""
    if len(sys.argv) > 1:
        return _handle(has_app=sys.argv[1] == "app")
    set_up()
    without = _instructions("none")
    _print("without the app", without, without)
    _print("with the app, without a plan", _instructions("app"), without)
    _start_plan()
    _print("with a plan that measures", _instructions("app"), without)
    return 0


def _print(name: str, instructions: float, without: float) -> None:
    more = instructions - without
    share = 100 * more / without
    print(f"{name:32}{instructions:12,.0f} instructions{more:+10,.0f}  {share:+.2f} %", flush=True)


def _instructions(project: str) -> float:
    """Returns the instructions of one request: the last count, after those that warm up."""
    return count_instructions([], "observed_requests", project)[-1] / TIMES


def _start_plan() -> None:
    from flagstaff.rollouts import create

    create(KEY, ["75:1h", "100"])


def _start_response(*_: object) -> Any:
    """Ignores the status and the headers of a response."""


def _handle(*, has_app: bool) -> int:
    from django.conf import settings

    if not has_app:
        settings.INSTALLED_APPS.remove(APP)
    settings.MIDDLEWARE.append("flagstaff.middleware.FlagstaffMiddleware")
    import django

    django.setup()
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.test import RequestFactory
    from django.urls import path

    from flagstaff import _core, flag_enabled, status

    def page(request: HttpRequest) -> HttpResponse:
        flag_enabled(KEY, 42)
        return HttpResponse()

    class Urls:
        urlpatterns = [path("", page)]

    settings.ROOT_URLCONF = Urls
    handler, environ = WSGIHandler(), RequestFactory().get("/").environ

    def handle(times: int) -> None:
        for _ in range(times):
            handler(dict(environ), _start_response).close()

    handle(WARM_UP)
    while not status().ready:
        time.sleep(1)
    handle(WARM_UP)
    # A collection looks at all objects of the process, also at the classes of one app more.
    gc.disable()
    _core.is_waiting()
    handle(TIMES)
    _core.is_waiting()
    # Skips the shutdown of interpreter and engine.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
