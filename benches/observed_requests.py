"""The cost of rollout plans for a request: instructions of an empty page, counted by valgrind.

    python -m benches.observed_requests        (beside a DATABASE_URL; needs valgrind)

A page that only evaluates one flag is handled with Django's usual middleware. It is counted in
three projects: without the app, with the app and no plan, and with a plan that measures the flag.
Only the thread that handles the requests counts, after some requests.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benches._project import set_up

TIMES = 500
WARM_UP = 20
ROOT = Path(__file__).resolve().parent.parent
APP = "flagstaff.rollouts"
KEY = "flag_1"
# A call of this function writes the counts since the one before into a file of their own.
SEPARATOR = "is_waiting"


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
    """Returns the instructions of one request."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += ["--separate-threads=yes", f"--dump-before=*__pyfunction_{SEPARATOR}*"]
        command += [sys.executable, "-m", "benches.observed_requests", project]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL, env=environment)
        # The first file has what came before the requests that count, of the main thread.
        counted = out.with_name(f"{out.name}.2-01").read_text()
    found = re.search(r"^(?:summary|totals): (\d+)", counted, re.MULTILINE)
    if found is None:
        raise RuntimeError("callgrind gave no count")
    return int(found[1]) / TIMES


def _start_plan() -> None:
    from flagstaff.rollouts import create  # noqa: PLC0415 (after set-up)

    create(KEY, ["75:1h", "100"])


def _handle(*, has_app: bool) -> int:
    from django.conf import settings  # noqa: PLC0415 (the counted process)

    if not has_app:
        settings.INSTALLED_APPS.remove(APP)
    settings.MIDDLEWARE.append("flagstaff.middleware.FlagstaffMiddleware")
    import django  # noqa: PLC0415

    django.setup()
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.test import RequestFactory  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    from flagstaff import _core, flag_enabled, status  # noqa: PLC0415

    def page(request: HttpRequest) -> HttpResponse:
        flag_enabled(KEY, 42)
        return HttpResponse()

    class Urls:
        urlpatterns = [path("", page)]

    settings.ROOT_URLCONF = Urls
    handler, environ = WSGIHandler(), RequestFactory().get("/").environ

    def handle(times: int) -> None:
        for _ in range(times):
            handler(dict(environ), lambda *_: None).close()

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
