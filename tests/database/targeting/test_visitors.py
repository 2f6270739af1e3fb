"""Flags bucketed by visitor, in requests of real browsers: who gets a cookie, and what it keeps."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import views as auth_views
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from rest_framework.views import APIView

from flagstaff import _log, all_flags, explain, flag_enabled
from flagstaff._request.visitor import sign_id
from flagstaff.contrib.drf import HasFlag
from flagstaff.decorators import flag_required
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.buckets import bucket_of
from tests.support.conditions import condition
from tests.support.draws import draws
from tests.support.fixtures import Load
from tests.support.shop import Shop
from tests.support.views import rendered, visitor_id_of

NAME = "flagstaff_visitor"
MIDDLEWARE = "flagstaff.middleware.FlagstaffMiddleware"
KEY = "visitor_banner"


class ByPermission(APIView):  # type: ignore[misc]
    permission_classes = [HasFlag(KEY)]
    authentication_classes: list[Any] = []

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(True))

    def permission_denied(self, request: Any, **kwargs: Any) -> None:
        # Evaluated once more, through the request of the framework.
        assert request.flags.enabled(KEY) is False
        super().permission_denied(request, **kwargs)


async def by_all_async(request: Any) -> HttpResponse:
    """Evaluates one flag and all flags, for a user who is logged in."""

    async def auser() -> User:
        return User(pk=1)

    request.auser = auser
    is_on, every = await request.flags.aenabled(KEY), await request.flags.aall()
    return HttpResponse(str(is_on is every[KEY]))


TEMPLATE = "{% load flagstaff %}{% flag 'visitor_banner' %}True{% else %}False{% endflag %}"


@flag_required(KEY, otherwise=lambda request: HttpResponse("False"))
def by_decorator(request: HttpRequest) -> HttpResponse:
    return HttpResponse("True")


async def by_request_async(request: Any) -> HttpResponse:
    return HttpResponse(str(await request.flags.aenabled(KEY)))


async def by_function_async(request: Any) -> HttpResponse:
    return HttpResponse(str(flag_enabled(KEY, await request.auser())))


# Ways to evaluate the flag.
VIEWS: dict[str, Any] = {
    "request": lambda request: HttpResponse(str(request.flags.enabled(KEY))),
    "function": lambda request: HttpResponse(str(flag_enabled(KEY, request.user))),
    "all": lambda request: HttpResponse(str(all_flags(request.user)[KEY])),
    "template": lambda request: HttpResponse(rendered(request, TEMPLATE)),
    "decorator": by_decorator,
    "async request": by_request_async,
    "async function": by_function_async,
}


# The pages that show the result.
URLS = [f"/{name.replace(' ', '/')}/" for name in VIEWS]


def by_context(request: Any) -> HttpResponse:
    """Evaluates by the context of the call, and by that of the request."""
    result = request.flags.enabled(KEY, context={"visitor": "of the caller"})
    request.flags.context["visitor"] = "of the caller"
    assert request.flags.enabled(KEY) is result
    return HttpResponse(str(result))


urlpatterns = [
    *(path(f"{name.replace(' ', '/')}/", view) for name, view in VIEWS.items()),
    path("async/all/", by_all_async),
    path("permission/", ByPermission.as_view()),
    path("context/", by_context),
    path("explain/", lambda request: HttpResponse(str(explain(KEY, request.user).value))),
    path("flags/", include("flagstaff.urls")),
    path("login/", auth_views.LoginView.as_view(next_page="/request/")),
    path("logout/", auth_views.LogoutView.as_view(next_page="/request/")),
]


@pytest.fixture(autouse=True)
def site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    monkeypatch.setattr(_log, "_logged", set())


def cookie_of(visitor: str) -> dict[str, str]:
    return {"Cookie": f"{NAME}={sign_id(visitor)}"}


def result_of(visitor: str, percent: int = 50) -> str:
    """What the page shows to a visitor."""
    return str(bucket_of(KEY, visitor) < percent)


@pytest.mark.parametrize("url", URLS)
def test_browser_gets_the_visitor_that_decides_and_keeps_it(
    shop: Shop, load: Load, url: str
) -> None:
    shop.flag(KEY)
    load()
    for _ in range(5):
        response = Client().get(url)
        assert response.content.decode() == result_of(visitor_id_of(response))
    for visitor in map(str, range(6)):
        response = Client().get(url, headers=cookie_of(visitor))
        assert response.content.decode() == result_of(visitor)
        assert not response.cookies


def test_asgi_gives_the_visitor_too(shop: Shop, load: Load, async_client: AsyncClient) -> None:
    shop.flag(KEY)
    load()
    first = async_to_sync(async_client.get)("/async/request/")
    assert first.content.decode() == result_of(visitor_id_of(first))
    second = async_to_sync(async_client.get)("/async/function/")
    assert second.content == first.content
    assert not second.cookies


def queried(user: User, request: HttpRequest) -> dict[str, object]:
    """A callable of ATTRIBUTES."""
    pytest.fail("the callable was run")


def test_async_evaluation_by_visitor_does_not_run_the_callable(
    shop: Shop, load: Load, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.queried"}
    shop.flag(KEY, rules=[{"conditions": [condition("visitor", "in", "mine")]}])
    load()
    assert Client().get("/async/all/").content == b"True"


NOT_NEEDED: dict[str, tuple[dict[str, Any], bool]] = {
    "0 %": ({"rollout_percent": 0}, False),
    "100 %": ({"rollout_percent": 100}, True),
    "disabled": ({"enabled": False}, False),
    "bucketed by user": ({"bucket_by": "user"}, False),
}


@pytest.mark.parametrize(("fields", "result"), NOT_NEEDED.values(), ids=NOT_NEEDED)
def test_result_that_needs_no_visitor_sets_no_cookie(
    shop: Shop, load: Load, fields: dict[str, Any], result: bool
) -> None:
    shop.flag(KEY)
    FeatureFlag.objects.update(**fields)
    load()
    for url in URLS:
        response = Client().get(url)
        assert (url, response.content.decode()) == (url, str(result))
        assert NAME not in response.cookies
        assert "Cache-Control" not in response.headers


def test_only_a_percentage_of_a_rule_draws_a_visitor(shop: Shop, load: Load) -> None:
    rule = {"conditions": [condition("is_authenticated", "in", False)]}
    shop.flag(KEY, rollout_percent=0, rules=[{**rule, "rollout_percent": 50}])
    load()
    response = Client().get("/request/")
    assert response.content.decode() == result_of(visitor_id_of(response))
    FeatureFlag.objects.update(rules=[rule])
    load()
    response = Client().get("/request/")
    assert (response.content, len(response.cookies)) == (b"True", 0)
    FeatureFlag.objects.update(rules=[{"conditions": [condition("visitor", "in", "mine")]}])
    load()
    response = Client().get("/request/")
    assert (response.content, len(response.cookies)) == (b"False", 0)
    assert response["Cache-Control"] == "private"
    assert Client().get("/request/", headers=cookie_of("mine")).content == b"True"


def test_condition_on_a_bucket_draws_a_visitor_if_it_is_reached(shop: Shop, load: Load) -> None:
    bucket = {"bucket": KEY, "operator": "lt", "values": [50]}
    shop.flag(KEY, rollout_percent=0, rules=[{"conditions": [bucket]}])
    load()
    response = Client().get("/request/")
    assert response.content.decode() == result_of(visitor_id_of(response))
    assert response["Cache-Control"] == "private"
    unreached = [condition("is_authenticated", "in", True), bucket]
    FeatureFlag.objects.update(rules=[{"conditions": unreached}])
    load()
    assert not Client().get("/request/").cookies


def test_allowed_user_and_explain_need_no_visitor(shop: Shop, load: Load, client: Client) -> None:
    shop.flag(KEY, rollout_percent=99)
    FeatureFlag.objects.get().allowed_users.add(shop.user("alice"))
    load()
    response = Client().get("/explain/")
    assert (response.content, len(response.cookies)) == (b"False", 0)
    assert Client().get("/explain/", headers=cookie_of("1")).content.decode() == result_of("1", 99)
    client.force_login(shop.user("alice"))
    response = client.get("/request/")
    assert response.content == b"True"
    assert NAME not in response.cookies


def test_visitor_of_the_context_needs_no_cookie(shop: Shop, load: Load) -> None:
    shop.flag(KEY)
    load()
    response = Client().get("/context/")
    assert response.content.decode() == result_of("of the caller")
    assert not response.cookies
    assert "Cache-Control" not in response.headers


# All flags at once are evaluated before their overrides are looked up.
@pytest.mark.parametrize("url", ["/request/", "/function/", "/template/", "/async/request/"])
def test_override_needs_no_visitor(shop: Shop, load: Load, url: str) -> None:
    shop.flag(KEY)
    load()
    for enabled in (True, False):
        with override_flag(KEY, enabled):
            response = Client().get(url)
        assert response.content.decode() == str(enabled)
        assert not response.cookies


def test_rest_framework_gives_the_visitor(shop: Shop, load: Load) -> None:
    shop.flag(KEY)
    load()
    seen: set[int] = set()
    for _ in draws(seen):
        response = Client().get("/permission/")
        seen.add(response.status_code)
        assert (response.status_code == 200) is (result_of(visitor_id_of(response)) == "True")
    assert seen == {200, 404}


def test_browser_view_gives_the_visitor_if_a_flag_needs_it(shop: Shop, load: Load) -> None:
    shop.flag(KEY, client_side=True)
    load()
    client = Client()
    response = client.get("/flags/")
    expected = result_of(visitor_id_of(response)) == "True"
    assert response.json() == {"flags": {KEY: expected}}
    assert "private" in response["Cache-Control"]
    assert response["Vary"] == "Cookie"
    assert client.get("/flags/").json() == {"flags": {KEY: expected}}
    FeatureFlag.objects.update(rollout_percent=100)
    load()
    assert not Client().get("/flags/").cookies


def test_request_without_middleware_has_no_visitor(
    shop: Shop, load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
    shop.flag(KEY, rollout_percent=99)
    load()
    for url in ("/template/", "/decorator/"):
        response = Client().get(url)
        assert (response.content, len(response.cookies)) == (b"False", 0)
    [record] = [record for record in caplog.records if record.name == "flagstaff"]
    assert "FlagstaffMiddleware" in record.message


LOGIN = {"username": "alice", "password": "secret"}


@pytest.mark.parametrize("url", ["/request/", "/async/function/"])
def test_result_stays_after_login_and_logout(shop: Shop, load: Load, url: str) -> None:
    alice = User.objects.create_user(**LOGIN)
    shop.flag(KEY)
    load()
    seen: set[bytes] = set()
    for _ in draws(seen):
        client = Client()
        first = client.get(url)
        assert client.post("/login/", LOGIN).status_code == 302
        assert client.session["_auth_user_id"] == str(alice.pk)
        logged_in = client.get(url)
        assert client.post("/logout/").status_code == 302
        assert "_auth_user_id" not in client.session
        logged_out = client.get(url)
        assert first.content == logged_in.content == logged_out.content
        assert client.cookies[NAME].value == first.cookies[NAME].value
        seen.add(first.content)
    assert seen == {b"True", b"False"}


def test_users_of_one_browser_have_one_result(shop: Shop, load: Load, client: Client) -> None:
    shop.flag(KEY)
    load()
    client.force_login(shop.user("alice"))
    first = client.get("/request/")
    assert first.content.decode() == result_of(visitor_id_of(first))
    client.force_login(shop.user("bob"))
    assert client.get("/request/").content == first.content
