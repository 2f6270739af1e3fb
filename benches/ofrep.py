"""The cost of all flags for a browser by OFREP, beside a view that returns the same bytes.

    python -m benches.ofrep       (beside a DATABASE_URL; `make bench` runs all)

The requests go through the handler and the middleware of Django, without a socket: session, user,
fifty client-side flags with a rollout of 50 %. Small batches alternate; the medians are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time_ns
from typing import Any

from benches._project import set_up

FLAGS = 50
BATCH = 20
ROUNDS = 100

URL = "/ofrep/v1/evaluate/flags"
BODY = b'{"context":{}}'


def main() -> None:
    """Measures and prints."""
    set_up()
    requests = _requests()
    for request in requests.values():
        _batch(request)
    times: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(ROUNDS):
        for name, taken in times.items():
            taken.append(_batch(requests[name]))
    base = median(next(iter(times.values())))
    for name, taken in times.items():
        cost = median(taken)
        print(
            f"{name:42}{cost / 1000:8.1f} µs of CPU{1e9 / cost:8.0f} per second{cost / base:7.2f}"
        )


def _batch(request: Callable[[], object]) -> float:
    start = process_time_ns()
    for _ in range(BATCH):
        request()
    return (process_time_ns() - start) / BATCH


def _requests() -> dict[str, Callable[[], object]]:
    """Returns a function for each kind of request, as a logged-in user."""
    from django.conf import settings  # noqa: PLC0415 (after set-up)
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.test import Client, RequestFactory  # noqa: PLC0415
    from django.urls import include, path  # noqa: PLC0415
    from django.views.decorators.csrf import csrf_exempt  # noqa: PLC0415

    from flagstaff import ready, status  # noqa: PLC0415
    from flagstaff.models import FeatureFlag  # noqa: PLC0415

    shown = [f"flag_{number}" for number in range(FLAGS)]
    FeatureFlag.objects.filter(key__in=shown).update(client_side=True)
    results = b""

    @csrf_exempt
    def constant(request: HttpRequest) -> HttpResponse:
        return HttpResponse(results, "application/json")

    @csrf_exempt
    def with_user(request: HttpRequest) -> HttpResponse:
        assert request.user.pk  # noqa: S101 (loads the user)
        return HttpResponse(results, "application/json")

    class Urls:
        urlpatterns = [
            path("", include("flagstaff.contrib.ofrep.urls")),
            path("constant/", constant),
            path("user/", with_user),
        ]

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    settings.ROOT_URLCONF = Urls  # type: ignore[assignment]
    client = Client()
    users: Any = get_user_model()
    client.force_login(users.objects.first())
    handler, factory = WSGIHandler(), RequestFactory()
    factory.cookies = client.cookies
    assert ready(10)  # noqa: S101
    assert status().mode == "live"  # noqa: S101

    def sender(url: str, expected: int = 200, **headers: str) -> Callable[[], Any]:
        def send() -> Any:
            made = factory.post(url, BODY, "application/json", headers=headers)
            response: Any = handler(made.environ, lambda *_: None)
            assert response.status_code == expected  # noqa: S101
            response.close()
            return response

        return send

    first = sender(URL)()
    results = first.content
    print(f"{FLAGS} flags are {len(results)} bytes")
    return {
        "a view with the same bytes": sender("/constant/"),
        "the same, and it loads the user": sender("/user/"),
        "all flags for a browser": sender(URL),
        "all flags for a browser, unchanged (304)": sender(
            URL, 304, **{"If-None-Match": first["ETag"]}
        ),
    }


if __name__ == "__main__":
    main()
