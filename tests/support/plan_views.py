"""Requests that evaluate a flag in different ways. A worker runs them by the command "call"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from threading import Thread
from typing import Any, Final

from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from openfeature import api
from openfeature.client import OpenFeatureClient

import flagstaff
from flagstaff.contrib.openfeature import FlagstaffProvider
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.views import client_flags

_FACTORY = RequestFactory()


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
