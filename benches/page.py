"""What twenty questions cost a page: the CPU time of a request with them and without.

    python -m benches.page        (beside a DATABASE_URL; `make bench` runs all)

The page is a light one, so that the questions weigh more than they usually do: session, logged-in
user, one query over a kept connection, a template with a table of twenty rows. Requests with and
without questions are interleaved in small batches, and medians compared.
"""

from __future__ import annotations

from statistics import median
from time import process_time_ns
from typing import Any

from benches._project import set_up

QUESTIONS = 20
BATCH = 20
ROUNDS = 200

PAGE = """<!doctype html><title>{{ request.user.username }}</title><table>
{% for user in users %}<tr><td>{{ user.pk }}</td><td>{{ user.username }}</td>
</tr>{% endfor %}</table>"""


def main() -> None:
    """Measure and print."""
    set_up()
    ask = _pages()
    for path in ("/plain/", "/asked/"):
        _batch(ask, path)
    times: dict[str, list[float]] = {"/plain/": [], "/asked/": []}
    for _ in range(ROUNDS):
        for path, taken in times.items():
            taken.append(_batch(ask, path))
    plain, asked = (median(taken) for taken in times.values())
    print(f"page without questions {plain / 1000:10.1f} µs of CPU")
    print(f"page with {QUESTIONS} questions {asked / 1000:10.1f} µs of CPU")
    print(f"the questions cost     {100 * (asked - plain) / plain:10.2f} % of the page")


def _batch(ask: Any, path: str) -> float:
    start = process_time_ns()
    for _ in range(BATCH):
        ask(path)
    return (process_time_ns() - start) / BATCH


def _pages() -> Any:
    """A function that requests a path as a logged-in user, through all of the middleware."""
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
    keys = [f"flag_{number}" for number in range(QUESTIONS)]

    def plain(request: HttpRequest) -> HttpResponse:
        shown = {"request": request, "users": users.objects.all()[:20]}
        return HttpResponse(template.render(Context(shown)))

    def asked(request: HttpRequest) -> HttpResponse:
        for key in keys:
            flag_enabled(key, request.user)
        return plain(request)

    class Urls:
        urlpatterns = [path("plain/", plain), path("asked/", asked)]

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    settings.ROOT_URLCONF = Urls  # type: ignore[assignment]
    client = Client()
    client.force_login(users.objects.first())
    handler, factory = WSGIHandler(), RequestFactory()
    factory.cookies = client.cookies
    assert ready(10)  # noqa: S101
    assert status().mode == "live"  # noqa: S101

    def ask(path: str) -> None:
        response = handler(factory.get(path).environ, lambda *_: None)
        assert response.status_code == 200  # type: ignore[attr-defined]  # noqa: S101, PLR2004
        response.close()

    return ask


if __name__ == "__main__":
    main()
