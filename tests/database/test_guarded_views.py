"""Views behind a flag: the decorator `flag_required` and the mixin `FlagRequiredMixin`."""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth import login
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView, TemplateView

from flagstaff import Flag
from flagstaff._request.flags import RequestFlags
from flagstaff.decorators import flag_required
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.views import content_of, new, new_async, old, old_async, request_of, with_flags

Guard = Callable[..., Any]
KEY, GERMAN_KEY = "new_checkout", "express_delivery"


@pytest.fixture(autouse=True)
def rows(shop: Shop) -> None:
    """A flag for alice, a flag for Germany, and bob."""
    shop.flag(KEY, rollout_percent=0)
    shop.flag(GERMAN_KEY)
    shop.user("bob")


def session_of(user: Any) -> Any:
    """Returns a request with the lazy user of AuthenticationMiddleware, by name if it is stored."""
    request = request_of(None)
    request.session = SessionStore()
    if user:
        stored = User.objects.get(username=user)
        login(request, stored, backend="django.contrib.auth.backends.ModelBackend")
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    return request


def by_decorator(view: Any, key: str = KEY, **options: Any) -> Any:
    return flag_required(key, **options)(view)


def by_mixin(view: Any, key: str = KEY, *, otherwise: Any = None, context: Any = None) -> Any:
    attributes: dict[str, Any] = {"flag_key": key, "get": staticmethod(view)}
    if otherwise is not None:
        attributes["flag_otherwise"] = otherwise
    if callable(context):
        attributes["get_flag_context"] = lambda self: context(self.request)
    elif context is not None:
        attributes["flag_context"] = context
    guarded: Any = type("Guarded", (FlagRequiredMixin, View), attributes)
    # A class inherits all of it.
    inherited: Any = type("Inherited", (guarded,), {})
    return inherited.as_view()


# A sync and an async view, guarded by each of the two.
guards = pytest.mark.parametrize(
    "guard",
    [partial(by, view) for by in (by_decorator, by_mixin) for view in (new, new_async)],
    ids=["decorator", "decorator, async", "mixin", "mixin, async"],
)
views = pytest.mark.parametrize("view", [new, new_async])


@guards
def test_view_is_shown_to_user_with_flag_only(guard: Guard) -> None:
    guarded = guard()
    assert iscoroutinefunction(guarded) is iscoroutinefunction(guard.args[0])  # type: ignore[attr-defined]
    assert content_of(guarded, session_of("alice"), number=7) == "new 7"
    assert content_of(guarded, session_of("alice"), 7) == "new 7"
    # Without `auser`.
    alice = User.objects.get(username="alice")
    assert content_of(guarded, request_of(alice)) == "new 0"
    for request in (session_of("bob"), session_of(None), request_of(None)):
        with pytest.raises(Http404):
            content_of(guarded, request)


@guards
def test_context_of_the_view_is_read(guard: Guard) -> None:
    def in_germany(request: HttpRequest) -> dict[str, object]:
        return {"country": request.headers.get("X-Country")}

    guarded = guard(GERMAN_KEY, otherwise=old, context=in_germany)
    for middleware in (False, True):
        request = session_of(None)
        if middleware:
            request.flags = RequestFlags(request)
        assert content_of(guarded, request).startswith("old")
        request.META["HTTP_X_COUNTRY"] = "DE"
        del request.headers
        assert content_of(guarded, request).startswith("new")
    constant = guard(GERMAN_KEY, context={"country": "DE"})
    assert content_of(constant, session_of(None)) == "new 0"


class OldView(View):
    get = staticmethod(old)


@pytest.mark.parametrize(
    "otherwise", [old, old_async, OldView.as_view()], ids=["function", "coroutine", "class"]
)
@guards
def test_otherwise_view_is_shown_to_user_without_flag(guard: Guard, otherwise: Any) -> None:
    guarded = guard(otherwise=otherwise)
    assert content_of(guarded, session_of("alice"), number=7) == "new 7"
    assert content_of(guarded, session_of("bob"), number=7) == "old 7 of 2"
    assert content_of(guarded, session_of("bob"), 7) == "old 7 of 2"


@guards
def test_view_uses_snapshot_of_request(guard: Guard) -> None:
    alice = User.objects.get(username="alice")
    request = with_flags(request_of(alice))
    assert request.flags.enabled(KEY) is True
    FeatureFlag.objects.update(enabled=False)
    assert content_of(guard(), request) == "new 0"
    with pytest.raises(Http404):
        content_of(guard(), request_of(alice))


@COMMITTED
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"enabled": True, "rollout_percent": 100}, "new 0"),
        ({"enabled": True, "rollout_percent": 0}, "old 0 of 1"),
        ({"enabled": False, "rollout_percent": 50}, "old 0 of 1"),
        ({"key": "renamed"}, "old 0 of 1"),
    ],
    ids=str,
)
@views
def test_view_does_not_read_user_if_result_does_not_depend_on_it(
    view: Any, state: dict[str, Any], expected: str
) -> None:
    User.objects.filter(username="alice").delete()
    FeatureFlag.objects.filter(key=KEY).update(**state)
    request = request_of(SimpleLazyObject(lambda: pytest.fail("the user was read")))
    request.auser = lambda: pytest.fail("the user was read")
    with live_engine():
        assert content_of(flag_required(KEY, otherwise=old)(view), request) == expected


def test_async_function_returns_the_context_of_an_async_view() -> None:
    async def in_germany(request: HttpRequest) -> dict[str, object]:
        return {"country": "DE"}

    guarded = flag_required(GERMAN_KEY, context=in_germany)(new_async)
    assert content_of(guarded, session_of(None)) == "new 0"


@views
def test_callable_of_attributes_runs_once_per_request_without_middleware(
    view: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[object] = []

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        requests.append(request)
        return {"country": "DE"}

    monkeypatch.setattr(f"{__name__}.attributes", record, raising=False)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.attributes"}
    request = session_of("alice")
    for _ in range(2):
        assert content_of(flag_required(GERMAN_KEY)(view), request) == "new 0"
    assert requests == [request]


urlpatterns = [
    path("checkout/", flag_required(KEY)(new)),
    path("async-checkout/", flag_required(KEY)(new_async)),
]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("url", ["/checkout/", "/async-checkout/"])
def test_not_found_page_names_the_flag_only_with_debug(
    url: str, client: Client, settings: Any
) -> None:
    settings.DEBUG = True
    response = client.get(url)
    assert response.status_code == 404
    assert (
        'The flag "new_checkout" is off for this user. To see why, run '
        '"manage.py flags explain new_checkout USER".'
    ) in Screen(response).text
    settings.DEBUG = False
    templates = {"404.html": "because: {{ exception }}"}
    loaders = [("django.template.loaders.locmem.Loader", templates)]
    engine = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": engine, "OPTIONS": {"loaders": loaders}}]
    response = client.get(url)
    assert (response.status_code, response.content) == (404, b"because: Http404")


def test_not_found_page_names_a_declared_flag(settings: Any) -> None:
    settings.DEBUG = True
    view = flag_required(Flag("new_front"))(new)
    with pytest.raises(Http404, match="flags explain new_front USER"):
        view(with_flags(request_of(AnonymousUser())))


class Checkout(View):
    @flag_required(KEY, otherwise=lambda self, request: HttpResponse("old"))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


class AsyncCheckout(View):
    @flag_required(KEY)
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


class PlainAsyncCheckout(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


def test_decorated_method_or_class_view_depends_on_flag() -> None:
    method, async_method = Checkout.as_view(), AsyncCheckout.as_view()
    view = flag_required(KEY, otherwise=old)(PlainAsyncCheckout.as_view())
    assert iscoroutinefunction(view)
    for guarded in (method, async_method, view):
        assert content_of(guarded, session_of("alice")) == "new"
    assert content_of(method, session_of("bob")) == "old"
    assert content_of(view, session_of("bob")) == "old 0 of 2"
    with pytest.raises(Http404):
        content_of(async_method, session_of("bob"))


@views
def test_decorated_view_keeps_name_attributes_and_signature(view: Any) -> None:
    guarded: Any = flag_required(KEY)(csrf_exempt(view))
    assert (guarded.__name__, guarded.__module__) == (view.__name__, new.__module__)
    assert guarded.csrf_exempt is True
    assert inspect.signature(guarded) == inspect.signature(view)


def test_wrapper_of_request_is_accepted() -> None:
    class Wrapped:
        def __init__(self, request: HttpRequest) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    assert content_of(flag_required(KEY)(new), Wrapped(session_of("alice"))) == "new 0"


@pytest.mark.parametrize("key", [new, 3, None])
def test_key_that_is_no_string_raises_type_error_at_once(key: Any) -> None:
    with pytest.raises(TypeError) as error:
        flag_required(key)
    kind = type(key).__name__
    assert str(error.value) == (
        f'flag_required needs the key of a flag, not a {kind}: write @flag_required("new_checkout")'
    )


@views
def test_function_that_is_no_view_raises_type_error(view: Any) -> None:
    message = "flag_required decorates a view, whose first argument must be the request"
    with pytest.raises(TypeError, match=message):
        content_of(flag_required(KEY)(view), "no request")


def test_async_view_for_anonymous_user_runs_in_plain_event_loop() -> None:
    with pytest.raises(Http404):
        asyncio.run(flag_required(KEY)(new_async)(request_of(AnonymousUser())))


class Guarded(FlagRequiredMixin, View):
    flag_key = KEY
    get = staticmethod(new)


class AsyncGuarded(FlagRequiredMixin, View):
    flag_key = KEY
    get = staticmethod(new_async)


@pytest.mark.parametrize("view", [Guarded, AsyncGuarded])
def test_class_accepts_flag_and_otherwise_view_and_django_handles_other_methods(
    view: Any, shop: Shop
) -> None:
    alice, bob = shop.user("alice"), shop.user("bob")
    shop.flag("banner", rollout_percent=0).allowed_users.add(bob)
    by_options = view.as_view(flag_key="banner", flag_otherwise=old)
    assert content_of(by_options, request_of(bob)) == "new 0"
    assert content_of(by_options, request_of(alice)) == "old 0 of 2"
    child: Any = type("Child", (view,), {"flag_otherwise": staticmethod(old)})
    assert content_of(child.as_view(), request_of(bob)) == "old 0 of 2"
    call = async_to_sync(view.as_view()) if view is AsyncGuarded else view.as_view()
    assert call(request_of(alice, "post")).status_code == 405
    assert call(request_of(alice, "options")).headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("key", [None, 3])
def test_view_without_flag_key_is_improperly_configured(key: Any) -> None:
    view: Any = type("WithoutKey", (FlagRequiredMixin, View), {"flag_key": key})
    with pytest.raises(ImproperlyConfigured) as error:
        view.as_view()(request_of(AnonymousUser()))
    assert str(error.value) == 'WithoutKey has no flag; set flag_key = "…" in the class'


def test_mixin_works_beside_views_and_mixins_of_django(shop: Shop) -> None:
    class Page(FlagRequiredMixin, TemplateView):
        flag_key = KEY
        template_name = "admin/base_site.html"

    class Redirect(FlagRequiredMixin, RedirectView):
        flag_key = KEY
        url = "/new/"

    class Members(LoginRequiredMixin, Guarded):
        pass

    alice, bob = shop.user("alice"), shop.user("bob")
    for view, status in ((Page, 200), (Redirect, 302), (Members, 200)):
        assert view.as_view()(request_of(alice)).status_code == status
        with pytest.raises(Http404):
            view.as_view()(request_of(bob))
    # The mixin in front runs first.
    assert Members.as_view()(request_of(AnonymousUser())).status_code == 302


def test_async_view_accepts_response_of_sync_mixin(shop: Shop) -> None:
    class Closed(View):
        def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return HttpResponse("closed")

    class Members(FlagRequiredMixin, Closed):
        flag_key = KEY
        get = staticmethod(new_async)

    assert content_of(Members.as_view(), request_of(shop.user("alice"))) == "closed"
