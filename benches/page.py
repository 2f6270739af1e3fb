"""The cost of twenty evaluations in a page: the CPU time of a request with and without them.

    python -m benches.page        (beside a DATABASE_URL; `make bench` runs all)

The page is light, so the evaluations weigh more than usual: session, logged-in user, one query over
a persistent connection, a template with a table of twenty rows. Small batches of requests with and
without evaluations alternate; the medians are compared.
"""

from __future__ import annotations

from statistics import median
from time import process_time_ns
from typing import Any

from benches._project import set_up

EVALUATIONS = 20
BATCH = 20
ROUNDS = 200

PAGE = """<!doctype html><title>{{ request.user.username }}</title><table>
{% for user in users %}<tr><td>{{ user.pk }}</td><td>{{ user.username }}</td>
</tr>{% endfor %}</table>"""


def main() -> None:
    """Measures and prints."""
    set_up()
    request = _pages()
    for path in ("/plain/", "/evaluated/"):
        _batch(request, path)
    times: dict[str, list[float]] = {"/plain/": [], "/evaluated/": []}
    for _ in range(ROUNDS):
        for path, taken in times.items():
            taken.append(_batch(request, path))
    plain, evaluated = (median(taken) for taken in times.values())
    print(f"page without evaluations  {plain / 1000:10.1f} µs of CPU")
    print(f"page with {EVALUATIONS} evaluations  {evaluated / 1000:10.1f} µs of CPU")
    print(f"the evaluations cost      {100 * (evaluated - plain) / plain:10.2f} % of the page")


def _batch(request: Any, path: str) -> float:
    start = process_time_ns()
    for _ in range(BATCH):
        request(path)
    return (process_time_ns() - start) / BATCH


def _pages() -> Any:
    """Returns a function that requests a path as a logged-in user, with all middleware."""
    from django.conf import settings  # noqa: PLC0415 (after set-up)
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.template import Context, Engine  # noqa: PLC0415
    from django.test import Client, RequestFactory  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    from flagstaff import flag_enabled, ready, status  # noqa: PLC0415

    users: Any = get_user_model()
    template = Engine().from_string(PAGE)
    keys = [f"flag_{number}" for number in range(EVALUATIONS)]

    def plain(request: HttpRequest) -> HttpResponse:
        shown = {"request": request, "users": users.objects.all()[:20]}
        return HttpResponse(template.render(Context(shown)))

    def evaluated(request: HttpRequest) -> HttpResponse:
        for key in keys:
            flag_enabled(key, request.user)
        return plain(request)

    class Urls:
        urlpatterns = [path("plain/", plain), path("evaluated/", evaluated)]

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    settings.ROOT_URLCONF = Urls  # type: ignore[assignment]
    client = Client()
    client.force_login(users.objects.first())
    handler, factory = WSGIHandler(), RequestFactory()
    factory.cookies = client.cookies
    assert ready(10)  # noqa: S101
    assert status().mode == "live"  # noqa: S101

    def request_path(path: str) -> None:
        response = handler(factory.get(path).environ, lambda *_: None)
        assert response.status_code == 200  # type: ignore[attr-defined]  # noqa: S101, PLR2004
        response.close()

    return request_path


if __name__ == "__main__":
    main()
