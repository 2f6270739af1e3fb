"""The decorator `flag_required`."""

from __future__ import annotations

import asyncio
import inspect
from html import unescape
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from flagstaff.decorators import flag_required
from flagstaff.middleware import RequestFlags
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine

pytestmark = pytest.mark.django_db
# The engine has its own connection and sees committed rows only.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

NOT_FOUND = (
    'The flag "new_checkout" is off for this user. To see why, run '
    '"manage.py flags explain new_checkout USER".'
)


def new(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"new {number}")


async def new_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"new {number}")


def old(request: HttpRequest, number: int = 0) -> HttpResponse:
    # Queries: Django forbids that in the thread of an event loop.
    return HttpResponse(f"old {number} of {User.objects.count()}")


async def old_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"old {number} of {await User.objects.acount()}")


VIEWS = pytest.mark.parametrize("view", [new, new_async])


def request_of(user: Any) -> HttpRequest:
    """Returns a request with the lazy user of AuthenticationMiddleware."""
    request = RequestFactory().get("/")
    request.session = SessionStore()
    if user.pk:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    return request


def content_of(view: Any, *args: Any, **kwargs: Any) -> str:
    """Calls a sync or async view like Django's handler and returns its content."""
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    return str(call(*args, **kwargs).content.decode())


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


@pytest.fixture(autouse=True)
def flag(alice: User) -> FeatureFlag:
    """A flag whose only user is alice."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    flag.allowed_users.add(alice)
    return flag


@VIEWS
def test_view_is_shown_to_user_with_flag(view: Any, alice: User) -> None:
    guarded = flag_required("new_checkout")(view)
    assert content_of(guarded, request_of(alice), 7) == "new 7"
    assert content_of(guarded, request_of(alice), number=7) == "new 7"


@VIEWS
def test_view_for_user_without_flag_is_not_found(view: Any, bob: User) -> None:
    for user in (bob, AnonymousUser()):
        with pytest.raises(Http404):
            content_of(flag_required("new_checkout")(view), request_of(user))


def in_germany(request: HttpRequest) -> dict[str, object]:
    return {"country": request.headers.get("X-Country")}


@VIEWS
@pytest.mark.parametrize("middleware", [False, True], ids=["without middleware", "with it"])
def test_context_of_the_view_is_read(view: Any, flag: FeatureFlag, *, middleware: bool) -> None:
    condition = {"attribute": "country", "operator": "in", "values": ["DE"]}
    flag.rules = [{"conditions": [condition]}]
    flag.save()
    guarded = flag_required("new_checkout", otherwise=old, context=in_germany)(view)
    request = request_of(AnonymousUser())
    if middleware:
        request.flags = RequestFlags(request)  # type: ignore[attr-defined]
    assert content_of(guarded, request).startswith("old")
    request.META["HTTP_X_COUNTRY"] = "DE"
    del request.headers
    assert content_of(guarded, request).startswith("new")
    constant = flag_required("new_checkout", context={"country": "DE"})(view)
    assert content_of(constant, request_of(AnonymousUser())) == "new 0"


def test_async_function_returns_the_context_of_an_async_view(flag: FeatureFlag) -> None:
    async def in_germany(request: HttpRequest) -> dict[str, object]:
        return {"country": "DE"}

    condition = {"attribute": "country", "operator": "in", "values": ["DE"]}
    flag.rules = [{"conditions": [condition]}]
    flag.save()
    guarded = flag_required("new_checkout", context=in_germany)(new_async)
    assert content_of(guarded, request_of(AnonymousUser())) == "new 0"


@VIEWS
def test_callable_of_attributes_runs_once_per_request_without_middleware(
    view: Any, alice: User, flag: FeatureFlag, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[object] = []

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        requests.append(request)
        return {"country": "DE"}

    monkeypatch.setattr(f"{__name__}.attributes", record, raising=False)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.attributes"}
    condition = {"attribute": "country", "operator": "in", "values": ["DE"]}
    flag.rules = [{"conditions": [condition]}]
    flag.save()
    flag.allowed_users.clear()
    request = request_of(alice)
    for _ in range(2):
        assert content_of(flag_required("new_checkout")(view), request) == "new 0"
    assert requests == [request]


urlpatterns = [
    path("checkout/", flag_required("new_checkout")(new)),
    path("async-checkout/", flag_required("new_checkout")(new_async)),
]
URLS = pytest.mark.parametrize("url", ["/checkout/", "/async-checkout/"])


@URLS
def test_not_found_page_names_the_flag_with_debug(url: str, client: Client, settings: Any) -> None:
    settings.ROOT_URLCONF, settings.DEBUG = __name__, True
    response = client.get(url)
    assert response.status_code == 404
    assert NOT_FOUND in unescape(response.content.decode())


@URLS
def test_not_found_page_does_not_name_the_flag_without_debug(
    url: str, client: Client, settings: Any
) -> None:
    templates = {"404.html": "because: {{ exception }}"}
    loaders = [("django.template.loaders.locmem.Loader", templates)]
    engine = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": engine, "OPTIONS": {"loaders": loaders}}]
    settings.ROOT_URLCONF = __name__
    response = client.get(url)
    assert (response.status_code, response.content) == (404, b"because: Http404")


@pytest.mark.parametrize("otherwise", [old, old_async])
@VIEWS
def test_otherwise_view_is_shown_to_user_without_flag(
    view: Any, otherwise: Any, alice: User, bob: User
) -> None:
    guarded = flag_required("new_checkout", otherwise=otherwise)(view)
    assert content_of(guarded, request_of(alice), 7) == "new 7"
    assert content_of(guarded, request_of(bob), 7) == "old 7 of 2"
    assert content_of(guarded, request_of(bob), number=7) == "old 7 of 2"


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


def test_decorated_method_depends_on_flag(alice: User, bob: User) -> None:
    assert content_of(Checkout.as_view(), request_of(alice)) == "new"
    assert content_of(Checkout.as_view(), request_of(bob)) == "old"


def test_decorated_async_method_depends_on_flag(alice: User, bob: User) -> None:
    assert content_of(AsyncCheckout.as_view(), request_of(alice)) == "new"
    with pytest.raises(Http404):
        content_of(AsyncCheckout.as_view(), request_of(bob))


class PlainAsyncCheckout(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


def test_decorated_async_class_view_depends_on_flag(alice: User, bob: User) -> None:
    guarded = flag_required("new_checkout", otherwise=old)(PlainAsyncCheckout.as_view())
    assert iscoroutinefunction(guarded)
    assert content_of(guarded, request_of(alice)) == "new"
    assert content_of(guarded, request_of(bob)) == "old 0 of 2"


@VIEWS
def test_decorated_view_keeps_name_attributes_and_signature(view: Any) -> None:
    guarded: Any = flag_required("new_checkout")(csrf_exempt(view))
    assert (guarded.__name__, guarded.__module__) == (view.__name__, __name__)
    assert guarded.csrf_exempt is True
    assert inspect.signature(guarded) == inspect.signature(view)
    assert iscoroutinefunction(guarded) is iscoroutinefunction(view)


@VIEWS
def test_request_without_user_is_anonymous(view: Any) -> None:
    with pytest.raises(Http404):
        content_of(flag_required("new_checkout")(view), RequestFactory().get("/"))


@VIEWS
def test_user_of_request_without_auser_is_used(view: Any, alice: User) -> None:
    request = RequestFactory().get("/")
    request.user = alice
    assert content_of(flag_required("new_checkout")(view), request) == "new 0"


def test_wrapper_of_request_is_accepted(alice: User) -> None:
    class Wrapped:
        def __init__(self, request: HttpRequest) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    assert content_of(flag_required("new_checkout")(new), Wrapped(request_of(alice))) == "new 0"


@VIEWS
def test_function_that_is_no_view_raises_type_error(view: Any) -> None:
    with pytest.raises(TypeError) as error:
        content_of(flag_required("new_checkout")(view), "no request")
    message = "flag_required decorates a view, whose first argument must be the request"
    assert str(error.value) == message


def test_sync_view_does_not_read_user_if_result_does_not_depend_on_it(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request: Any = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert content_of(flag_required("new_checkout")(new), request) == "new 0"


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
def test_async_view_does_not_read_user_if_result_does_not_depend_on_it(
    state: dict[str, Any], expected: str, alice: User
) -> None:
    alice.delete()
    FeatureFlag.objects.update(**state)
    request = RequestFactory().get("/")
    request.auser = lambda: pytest.fail("the user was read")
    with live_engine():
        view = flag_required("new_checkout", otherwise=old)(new_async)
        assert content_of(view, request) == expected


@COMMITTED
def test_async_view_reads_user_if_result_depends_on_it(alice: User, bob: User) -> None:
    guarded = flag_required("new_checkout", otherwise=old_async)(new_async)
    with live_engine():
        assert content_of(guarded, request_of(alice)) == "new 0"
        assert content_of(guarded, request_of(bob)) == "old 0 of 2"


def test_async_view_for_anonymous_user_runs_in_plain_event_loop() -> None:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with pytest.raises(Http404):
        asyncio.run(flag_required("new_checkout")(new_async)(request))
