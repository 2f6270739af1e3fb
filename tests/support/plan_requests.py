"""Requests that rollout plans measure. A worker runs these functions by the command "call"."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from itertools import count
from threading import Thread
from typing import Any, Final
from unittest.mock import patch

from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIRequest
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from django.utils.timezone import now
from openfeature import api
from openfeature.client import OpenFeatureClient

import flagstaff
from flagstaff.contrib.openfeature import FlagstaffProvider
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.views import client_flags

_FACTORY = RequestFactory()


def requests(key: str, users: Sequence[Any], status: int = 200) -> None:
    """Handles one request per user, which evaluates the flag and has this status."""

    def view(request: HttpRequest) -> HttpResponse:
        flagstaff.flag_enabled(key, request.user_pk)  # type: ignore[attr-defined]
        return HttpResponse(status=status)

    middleware = FlagstaffMiddleware(view)
    for user in users:
        request = _FACTORY.get("/")
        request.user_pk = user  # type: ignore[attr-defined]
        middleware(request)


def requests_async(key: str, users: Sequence[Any], status: int = 200) -> None:
    """The same under an event loop, with all requests at the same time."""

    async def view(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        flagstaff.flag_enabled(key, request.user_pk)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return HttpResponse(status=status)

    async def handle_all() -> None:
        # The debug mode of tests reports slow callbacks, and the machine may be busy.
        asyncio.get_running_loop().slow_callback_duration = 60
        middleware = FlagstaffMiddleware(view)
        handled = []
        for user in users:
            request = _FACTORY.get("/")
            request.user_pk = user  # type: ignore[attr-defined]
            handled.append(middleware(request))
        await asyncio.gather(*handled)  # type: ignore[arg-type]

    asyncio.run(handle_all())


def has_problem(start: str) -> bool:
    """Whether a problem of the status begins with this text."""
    return any(problem.startswith(start) for problem in flagstaff.status().problems)


def address(request: HttpRequest) -> str | None:
    """The function of CLIENT_ADDRESS: the address that the test gives a request."""
    addresses.append(request.headers.get("X-Address"))
    return addresses[-1]


#: What `address` has returned.
addresses: list[str | None] = []


def requests_from(key: str, visits: Sequence[tuple[Any, str, int]]) -> int:
    """Handles a request per user, address and status. Returns how often the address was read."""
    addresses.clear()

    def view(request: HttpRequest) -> HttpResponse:
        flagstaff.flag_enabled(key, request.user_pk)  # type: ignore[attr-defined]
        return HttpResponse(status=request.status)  # type: ignore[attr-defined]

    middleware = FlagstaffMiddleware(view)
    for user, client, status in visits:
        request = _FACTORY.get("/", headers={"X-Address": client})
        request.user_pk, request.status = user, status  # type: ignore[attr-defined]
        middleware(request)
    return len(addresses)


def visitors(key: str, cookies: Sequence[str | None], status: int) -> None:
    """Handles a request per visitor's cookie, or without one."""

    def view(request: Any) -> HttpResponse:
        request.flags.enabled(key)
        return HttpResponse(status=status)

    middleware = FlagstaffMiddleware(view)
    for cookie in cookies:
        request = _FACTORY.get("/")
        if cookie is not None:
            request.COOKIES["flagstaff_visitor"] = cookie
        middleware(request)


def bodies(key: str, users: Sequence[int], how: str) -> None:
    """Handles a POST per user, whose body arrives after an hour of the clock.

    `how` is the part of the request that the view reads, or "nothing". With "chunked", the body has
    no length and the view reads it line by line; with "broken", the client goes away meanwhile.
    """
    clock = count(step=3600.0)

    class Slow(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if how == "broken":
                raise OSError
            return super().read(size)

    def view(request: Any) -> HttpResponse:
        flagstaff.flag_enabled(key, request.user_pk)
        if how == "wsgi.input":
            request.environ[how].readlines()
        elif how == "chunked":
            list(request.environ["wsgi.input"])
        elif how != "nothing":
            bytes(request.body) if how == "broken" else dict(getattr(request, how))
        return HttpResponse()

    middleware = FlagstaffMiddleware(view)
    with patch("flagstaff.rollouts.requests.time.perf_counter", lambda: next(clock)):
        for user in users:
            environ = _FACTORY.post("/", {"name": "value"}).environ
            environ["wsgi.input"] = Slow(environ["wsgi.input"].read())
            if how == "chunked":
                environ |= {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
            request: Any = WSGIRequest(environ)
            request.user_pk = user
            with suppress(OSError):
                middleware(request)


def verdict(run: int, percent: int) -> str | None:
    """The guard that trips, by what is stored."""
    from flagstaff.rollouts.evidence import read_evidence
    from flagstaff.rollouts.models import StepRun
    from flagstaff.rollouts.steps_and_guards import Guard, Step
    from flagstaff.rollouts.verdict import judge

    evidence = read_evidence(StepRun.objects.get(pk=run), now())
    return judge([Step(percent, 60), Step(100, 0)], 0, [Guard("errors")], evidence, 10).trip


# Views that evaluate a flag in different ways.


def requests_by(view: str, key: str, users: Sequence[int]) -> None:
    """Handles one request per user by this view, and reads its response."""

    def respond(request: Any) -> HttpResponseBase:
        return _VIEWS[view](key, request)

    middleware = FlagstaffMiddleware(respond)
    for user in users:
        request: Any = _FACTORY.get("/")
        request.user = user
        with suppress(ZeroDivisionError, Http404):
            response: Any = middleware(request)
            b"".join(response)


def _raises(key: str, request: Any) -> HttpResponseBase:
    flagstaff.flag_enabled(key, request.user)
    raise ZeroDivisionError


def _not_found(key: str, request: Any) -> HttpResponseBase:
    flagstaff.flag_enabled(key, request.user)
    return HttpResponse(status=404)


def _streaming(key: str, request: HttpRequest) -> HttpResponseBase:
    def body() -> Iterator[str]:
        yield str(flagstaff.flag_enabled(key, request.user))

    return StreamingHttpResponse(body())


def _thread(key: str, request: HttpRequest) -> HttpResponseBase:
    thread = Thread(target=flagstaff.flag_enabled, args=(key, request.user))
    thread.start()
    thread.join()
    return HttpResponse()


def _drf(key: str, request: Any) -> HttpResponseBase:
    # The frameworks read the settings when they are imported.
    from rest_framework.renderers import JSONRenderer
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from flagstaff.contrib.drf import HasFlag

    user = User(pk=request.user)

    class ByHeader:
        def authenticate(self, _request: object) -> tuple[User, None]:
            return user, None

    class Orders(APIView):  # type: ignore[misc]
        authentication_classes = [ByHeader]
        permission_classes = [HasFlag(key)]
        renderer_classes = [JSONRenderer]

        def get(self, _request: object) -> Response:
            """Fail for users who have the flag."""
            raise ZeroDivisionError

    response: HttpResponseBase = Orders.as_view()(request).render()
    return response


@cache
def _client() -> OpenFeatureClient:
    api.set_provider_and_wait(FlagstaffProvider())
    return api.get_client()


def _openfeature(key: str, _request: Any) -> HttpResponseBase:
    return HttpResponse(str(_client().get_boolean_value(key, default_value=False)))


_VIEWS: Final[dict[str, Callable[[str, Any], HttpResponseBase]]] = {
    "request.flags": lambda key, request: HttpResponse(str(request.flags.enabled(key))),
    "openfeature": _openfeature,
    "raises": _raises,
    "drf": _drf,
    "404": _not_found,
    "all_flags": lambda _key, request: HttpResponse(str(flagstaff.all_flags(request.user))),
    "request.flags.all": lambda _key, request: HttpResponse(str(request.flags.all())),
    "browsers": lambda _key, request: client_flags(request),
    "explain": lambda key, request: HttpResponse(str(flagstaff.explain(key, request.user))),
    "streaming": _streaming,
    "thread": _thread,
}
