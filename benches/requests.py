"""What flags cost a request: twenty evaluations in a page, and all flags for a browser by OFREP.

    python -m benches.requests        (beside a DATABASE_URL; `make bench` runs all)

CPU time of the handler and the middleware of Django, without a socket, with session and user. The
page is light, so its evaluations weigh more than usual: one query over a persistent connection, and
a template with a table of twenty rows. OFREP returns fifty client-side flags with a rollout of
50 %, beside a view that returns the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time_ns
from typing import Any

from benches._project import client_of, median_costs, set_up

EVALUATIONS, FLAGS = 20, 50
BATCH, ROUNDS = 20, 100
OFREP, BODY = "/ofrep/v1/evaluate/flags", b'{"context":{}}'
PAGE = """<!doctype html><title>{{ request.user.username }}</title><table>
{% for user in users %}<tr><td>{{ user.pk }}</td><td>{{ user.username }}</td>
</tr>{% endfor %}</table>"""


def main() -> None:
    """Measures and prints."""
    set_up()
    costs = median_costs(_requests(), ROUNDS, batch=BATCH, clock=process_time_ns)
    for name, cost in costs.items():
        print(f"{name:42}{cost / 1000:8.1f} µs of CPU{1e9 / cost:8.0f} per second")


def _start_response(*_: object) -> Any:
    """Ignores the status and the headers of a response."""


def _requests() -> dict[str, Callable[[], object]]:
    """Returns a function for each kind of request, as a logged-in user."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.template import Context, Engine
    from django.test import RequestFactory
    from django.urls import include, path
    from django.views.decorators.csrf import csrf_exempt

    from flagstaff import flag_enabled, ready, status
    from flagstaff.models import FeatureFlag

    shown = [f"flag_{number}" for number in range(FLAGS)]
    FeatureFlag.objects.filter(key__in=shown).update(client_side=True)
    users: Any = get_user_model()
    template = Engine().from_string(PAGE)
    results = b""

    def plain(request: HttpRequest) -> HttpResponse:
        context = Context({"request": request, "users": users.objects.all()[:20]})
        return HttpResponse(template.render(context))

    def evaluated(request: HttpRequest) -> HttpResponse:
        for key in shown[:EVALUATIONS]:
            flag_enabled(key, request.user)
        return plain(request)

    @csrf_exempt
    def constant(request: HttpRequest) -> HttpResponse:
        assert request.user.pk  # noqa: S101 (loads the user)
        return HttpResponse(results, "application/json")

    class Urls:
        urlpatterns = [
            path("", include("flagstaff.contrib.ofrep.urls")),
            path("plain/", plain),
            path("evaluated/", evaluated),
            path("constant/", constant),
        ]

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    client = client_of(users.objects.first(), Urls)
    handler, factory = WSGIHandler(), RequestFactory()
    factory.cookies = client.cookies
    assert ready(10)  # noqa: S101
    assert status().mode == "live"  # noqa: S101

    def sender(made: Any, expected: int = 200) -> Callable[[], Any]:
        def send() -> Any:
            response: Any = handler(made().environ, _start_response)
            assert response.status_code == expected  # noqa: S101
            response.close()
            return response

        return send

    def post(url: str, **headers: str) -> Callable[[], Any]:
        return lambda: factory.post(url, BODY, "application/json", headers=headers)

    first = sender(post(OFREP))()
    results = first.content
    print(f"{FLAGS} flags are {len(results)} bytes")
    unchanged = post(OFREP, **{"If-None-Match": first["ETag"]})
    return {
        "a page without evaluations": sender(lambda: factory.get("/plain/")),
        f"the page with {EVALUATIONS} evaluations": sender(lambda: factory.get("/evaluated/")),
        "a view with the same bytes": sender(post("/constant/")),
        "all flags for a browser": sender(post(OFREP)),
        "all flags for a browser, unchanged (304)": sender(unchanged, 304),
    }


if __name__ == "__main__":
    main()
