"""`request.flags`: one snapshot for all evaluations of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.functional import SimpleLazyObject

import flagstaff
from flagstaff import flag_enabled, get_value
from flagstaff._engine import direct
from flagstaff._engine.request_flags import RequestFlags
from flagstaff.decorators import flag_required
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag
from tests.support.fixtures import Load
from tests.support.views import new_async, request_of, with_flags

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_checkout", "gateway")]
Get = Callable[[str], Any]
TAGS = "{% load flagstaff %}{% flag 'new_checkout' %}new{% endflag %} {% value 'gateway' %}"


def change_rows() -> None:
    """Disables the flag and changes the value."""
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    flagstaff.refresh()


def rendered(request: HttpRequest, text: str) -> str:
    """Renders a template with the request."""
    return str(engines["django"].from_string(text).render({}, request))


def checkout(request: Any) -> HttpResponse:
    results = [request.flags.enabled("new_checkout"), request.flags.value("gateway")]
    change_rows()
    results += [request.flags.enabled("new_checkout"), request.flags.value("gateway")]
    results += [flag_enabled("new_checkout", request.user), get_value("gateway")]
    return HttpResponse(" ".join(map(str, results)))


async def checkout_async(request: Any) -> HttpResponse:
    results = [await request.flags.aenabled("new_checkout"), request.flags.value("gateway")]
    await FeatureFlag.objects.aupdate(enabled=False)
    results += [await request.flags.aenabled("new_checkout"), await request.flags.aall()]
    return HttpResponse(" ".join(map(str, results)))


def page(request: Any) -> HttpResponse:
    before = rendered(request, TAGS)
    change_rows()
    return HttpResponse(f"{before}, {rendered(request, TAGS)}, {request.flags.value('gateway')}")


@flag_required("new_checkout")
def guarded_view(request: HttpRequest) -> HttpResponse:
    change_rows()
    return HttpResponse(rendered(request, TAGS))


@flag_required("new_checkout")
async def guarded_async_view(request: Any) -> HttpResponse:
    await FeatureFlag.objects.aupdate(enabled=False)
    return HttpResponse(str(await request.flags.aenabled("new_checkout")))


def view_without_flags(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing")


urlpatterns = [
    path("checkout/", checkout),
    path("checkout/async/", checkout_async),
    path("page/", page),
    path("guarded/", guarded_view),
    path("guarded/async/", guarded_async_view),
    path("nothing/", view_without_flags),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


@pytest.fixture(params=[Client, AsyncClient], ids=["WSGI", "ASGI"])
def get(request: pytest.FixtureRequest, alice: User) -> Get:
    """Requests a page as alice."""
    client = request.param()
    client.force_login(alice)
    return async_to_sync(client.get) if request.param is AsyncClient else client.get


def test_request_keeps_its_snapshot_and_the_next_has_another(load: Load, get: Get) -> None:
    load()
    assert get("/checkout/").content == b"True stripe True stripe False paypal"
    assert get("/checkout/").content == b"False paypal False paypal False paypal"


def test_async_view_keeps_its_snapshot(load: Load, get: Get) -> None:
    load()
    assert get("/checkout/async/").content == b"True stripe True {'new_checkout': True}"


def test_template_tags_and_decorated_views_use_snapshot_of_request(get: Get) -> None:
    assert get("/page/").content == b"new stripe, new stripe, stripe"
    FeatureFlag.objects.update(enabled=True)
    assert get("/guarded/").content == b"new paypal"
    FeatureFlag.objects.update(enabled=True)
    assert get("/guarded/async/").content == b"True"


def test_request_without_evaluation_reads_neither_database_nor_session(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "select", lambda *_: pytest.fail("the database was read"))
    response = get("/nothing/")
    django_request = getattr(response, "asgi_request", None) or response.wsgi_request
    assert django_request.session.accessed is False
    assert response.headers.get("Vary") is None


def test_flags_are_evaluated_by_key_or_all_at_once(alice: User) -> None:
    text = "{% if request.flags.new_checkout %}new{% endif %}{{ request.flags.missing }}"
    assert rendered(with_flags(request_of(alice)), text) == "newFalse"
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    flags: RequestFlags = with_flags(request_of(AnonymousUser())).flags
    assert flags.all() == {"banner": True, "new_checkout": False}
    assert (flags["banner"], flags["new_checkout"]) == (True, False)
    assert flags.enabled("missing", default=True) is True
    assert flags.value("missing", "default") == "default"


def test_user_is_not_read_if_result_does_not_depend_on_it() -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    lazy = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    request = with_flags(request_of(lazy))
    request.auser = lambda: pytest.fail("the user was read")
    assert request.flags.enabled("new_checkout") is True
    assert request.flags.all() == {"new_checkout": True}
    assert async_to_sync(request.flags.aenabled)("new_checkout") is True


def test_user_of_the_moment_is_used_also_without_auser(alice: User) -> None:
    request = with_flags(request_of(None))
    assert request.flags.enabled("new_checkout") is False
    assert async_to_sync(request.flags.aenabled)("new_checkout") is False
    request.user = AnonymousUser()
    assert request.flags.enabled("new_checkout") is False
    request.user = alice
    assert request.flags.enabled("new_checkout") is True
    assert async_to_sync(request.flags.aenabled)("new_checkout") is True
    assert async_to_sync(request.flags.aall)() == {"new_checkout": True}


def test_override_before_first_evaluation_is_in_snapshot() -> None:
    flags: RequestFlags = with_flags(request_of(None)).flags
    with override_flag("new_checkout", True):
        assert flags.enabled("new_checkout") is True
    assert flags.enabled("new_checkout") is True
    assert flag_enabled("new_checkout") is False


def test_middleware_is_async_if_next_middleware_is() -> None:
    middleware = FlagstaffMiddleware(new_async)
    assert iscoroutinefunction(middleware)
    assert async_to_sync(middleware)(request_of(None)).content == b"new 0"
