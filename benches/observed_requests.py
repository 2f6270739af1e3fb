"""The cost of rollout plans for a request: instructions of an empty page, counted by valgrind.

    python -m benches.observed_requests        (beside a DATABASE_URL; needs valgrind)

A page that only evaluates one flag is handled with Django's usual middleware. It is counted in
three projects: without the app, with the app and no plan, and with a plan that measures the flag.
Two runs of different length are subtracted, so that the start does not count.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benches._project import set_up

SHORT, LONG = 500, 1500
ROOT = Path(__file__).resolve().parent.parent
APP = "flagstaff.rollouts"
KEY = "flag_1"


def main() -> int:
    """Counts and prints; in the counted process, handles requests."""
    if len(sys.argv) > 1:
        return _handle(int(sys.argv[1]), has_app=sys.argv[2] == "app")
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
    return (_total(LONG, project) - _total(SHORT, project)) / (LONG - SHORT)


def _total(requests: int, project: str) -> int:
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += ["--separate-threads=yes"]
        command += [sys.executable, "-m", "benches.observed_requests", str(requests), project]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL, env=environment)
        found = re.search(r"^(?:summary|totals): (\d+)", _main_thread(out), re.MULTILINE)
        if found is None:
            raise RuntimeError("callgrind gave no count")
        return int(found[1])


def _main_thread(out: Path) -> str:
    """Returns the counts of the thread that handles requests, without those of the engine."""
    return out.with_name(f"{out.name}-01").read_text()


def _start_plan() -> None:
    from flagstaff.models import FeatureFlag  # noqa: PLC0415 (after set-up)
    from flagstaff.rollouts import create  # noqa: PLC0415

    FeatureFlag.objects.get(key=KEY)
    create(KEY, ["75:1h", "100"])


def _handle(requests: int, *, has_app: bool) -> int:
    from django.conf import settings  # noqa: PLC0415 (the counted process)

    if not has_app:
        settings.INSTALLED_APPS.remove(APP)
    settings.MIDDLEWARE.append("flagstaff.middleware.FlagstaffMiddleware")
    # The engine's threads would count at other times in each run.
    settings.FLAGSTAFF = {"MEASURE_INTERVAL": 60, "USAGE_INTERVAL": 0, "POLL_INTERVAL": 3600}
    import django  # noqa: PLC0415

    django.setup()
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.test import RequestFactory  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    from flagstaff import flag_enabled, status  # noqa: PLC0415

    def page(request: HttpRequest) -> HttpResponse:
        flag_enabled(KEY, 42)
        return HttpResponse()

    class Urls:
        urlpatterns = [path("", page)]

    settings.ROOT_URLCONF = Urls
    flag_enabled(KEY)
    while not status().ready:
        # Long, because each look counts.
        time.sleep(5)
    handler, environ = WSGIHandler(), RequestFactory().get("/").environ
    for _ in range(requests):
        handler(dict(environ), lambda *_: None).close()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
