"""The decorator `flag_required`."""

from __future__ import annotations

import asyncio
import inspect
from html import unescape
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth import login
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from flagstaff._engine.request_flags import RequestFlags
from flagstaff.decorators import flag_required
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED
from tests.support.views import content_of, new, new_async, old, old_async, request_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_checkout")]
NOT_FOUND = (
    'The flag "new_checkout" is off for this user. To see why, run '
    '"manage.py flags explain new_checkout USER".'
)
VIEWS = pytest.mark.parametrize("view", [new, new_async])


def session_of(user: Any) -> Any:
    """Returns a request with the lazy user of AuthenticationMiddleware."""
    request = request_of(None)
    request.session = SessionStore()
    if user.pk:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    return request


@VIEWS
def test_view_is_shown_to_user_with_flag_only(view: Any, alice: User, bob: User) -> None:
    guarded = flag_required("new_checkout")(view)
    assert content_of(guarded, session_of(alice), 7) == "new 7"
    assert content_of(guarded, session_of(alice), number=7) == "new 7"
    # Without `auser`.
    assert content_of(guarded, request_of(alice)) == "new 0"
    for request in (session_of(bob), session_of(AnonymousUser()), request_of(None)):
        with pytest.raises(Http404):
            content_of(guarded, request)


def in_germany(request: HttpRequest) -> dict[str, object]:
    return {"country": request.headers.get("X-Country")}


@VIEWS
@pytest.mark.usefixtures("german")
@pytest.mark.parametrize("middleware", [False, True], ids=["without middleware", "with it"])
def test_context_of_the_view_is_read(view: Any, *, middleware: bool) -> None:
    guarded = flag_required("german", otherwise=old, context=in_germany)(view)
    request = session_of(AnonymousUser())
    if middleware:
        request.flags = RequestFlags(request)
    assert content_of(guarded, request).startswith("old")
    request.META["HTTP_X_COUNTRY"] = "DE"
    del request.headers
    assert content_of(guarded, request).startswith("new")
    constant = flag_required("german", context={"country": "DE"})(view)
    assert content_of(constant, session_of(AnonymousUser())) == "new 0"


def test_async_function_returns_the_context_of_an_async_view(german: FeatureFlag) -> None:
    async def in_germany(request: HttpRequest) -> dict[str, object]:
        return {"country": "DE"}

    guarded = flag_required("german", context=in_germany)(new_async)
    assert content_of(guarded, session_of(AnonymousUser())) == "new 0"


@VIEWS
@pytest.mark.usefixtures("german")
def test_callable_of_attributes_runs_once_per_request_without_middleware(
    view: Any, alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[object] = []

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        requests.append(request)
        return {"country": "DE"}

    monkeypatch.setattr(f"{__name__}.attributes", record, raising=False)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.attributes"}
    request = session_of(alice)
    for _ in range(2):
        assert content_of(flag_required("german")(view), request) == "new 0"
    assert requests == [request]


urlpatterns = [
    path("checkout/", flag_required("new_checkout")(new)),
    path("async-checkout/", flag_required("new_checkout")(new_async)),
]


@pytest.mark.parametrize("url", ["/checkout/", "/async-checkout/"])
def test_not_found_page_names_the_flag_only_with_debug(
    url: str, client: Client, settings: Any
) -> None:
    settings.ROOT_URLCONF, settings.DEBUG = __name__, True
    response = client.get(url)
    assert response.status_code == 404
    assert NOT_FOUND in unescape(response.content.decode())
    settings.DEBUG = False
    templates = {"404.html": "because: {{ exception }}"}
    loaders = [("django.template.loaders.locmem.Loader", templates)]
    engine = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": engine, "OPTIONS": {"loaders": loaders}}]
    response = client.get(url)
    assert (response.status_code, response.content) == (404, b"because: Http404")


@pytest.mark.parametrize("otherwise", [old, old_async])
@VIEWS
def test_otherwise_view_is_shown_to_user_without_flag(
    view: Any, otherwise: Any, alice: User, bob: User
) -> None:
    guarded = flag_required("new_checkout", otherwise=otherwise)(view)
    assert content_of(guarded, session_of(alice), 7) == "new 7"
    assert content_of(guarded, session_of(bob), 7) == "old 7 of 2"
    assert content_of(guarded, session_of(bob), number=7) == "old 7 of 2"


class Checkout(View):
    @flag_required("new_checkout", otherwise=lambda self, request: self.old(request))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")

    def old(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("old")


class AsyncCheckout(View):
    @flag_required("new_checkout")
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


class PlainAsyncCheckout(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


def test_decorated_method_or_class_view_depends_on_flag(alice: User, bob: User) -> None:
    method, async_method = Checkout.as_view(), AsyncCheckout.as_view()
    view = flag_required("new_checkout", otherwise=old)(PlainAsyncCheckout.as_view())
    assert iscoroutinefunction(view)
    for guarded in (method, async_method, view):
        assert content_of(guarded, session_of(alice)) == "new"
    assert content_of(method, session_of(bob)) == "old"
    assert content_of(view, session_of(bob)) == "old 0 of 2"
    with pytest.raises(Http404):
        content_of(async_method, session_of(bob))


@VIEWS
def test_decorated_view_keeps_name_attributes_and_signature(view: Any) -> None:
    guarded: Any = flag_required("new_checkout")(csrf_exempt(view))
    assert (guarded.__name__, guarded.__module__) == (view.__name__, new.__module__)
    assert guarded.csrf_exempt is True
    assert inspect.signature(guarded) == inspect.signature(view)
    assert iscoroutinefunction(guarded) is iscoroutinefunction(view)


def test_wrapper_of_request_is_accepted(alice: User) -> None:
    class Wrapped:
        def __init__(self, request: HttpRequest) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    assert content_of(flag_required("new_checkout")(new), Wrapped(session_of(alice))) == "new 0"


@pytest.mark.parametrize("key", [new, 3, None])
def test_key_that_is_no_string_raises_type_error_at_once(key: Any) -> None:
    with pytest.raises(TypeError) as error:
        flag_required(key)
    kind = type(key).__name__
    assert str(error.value) == (
        f'flag_required needs the key of a flag, not a {kind}: write @flag_required("new_checkout")'
    )


@VIEWS
def test_function_that_is_no_view_raises_type_error(view: Any) -> None:
    with pytest.raises(TypeError) as error:
        content_of(flag_required("new_checkout")(view), "no request")
    message = "flag_required decorates a view, whose first argument must be the request"
    assert str(error.value) == message


@COMMITTED
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"enabled": True, "rollout_percent": 100}, "new 0"),
        ({"enabled": True, "rollout_percent": 0}, "old 0 of 0"),
        ({"enabled": False, "rollout_percent": 50}, "old 0 of 0"),
        ({"key": "renamed"}, "old 0 of 0"),
    ],
    ids=str,
)
@VIEWS
def test_view_does_not_read_user_if_result_does_not_depend_on_it(
    view: Any, state: dict[str, Any], expected: str, alice: User
) -> None:
    alice.delete()
    FeatureFlag.objects.update(**state)
    request = request_of(SimpleLazyObject(lambda: pytest.fail("the user was read")))
    request.auser = lambda: pytest.fail("the user was read")
    with live_engine():
        assert content_of(flag_required("new_checkout", otherwise=old)(view), request) == expected


def test_async_view_for_anonymous_user_runs_in_plain_event_loop() -> None:
    with pytest.raises(Http404):
        asyncio.run(flag_required("new_checkout")(new_async)(request_of(AnonymousUser())))
