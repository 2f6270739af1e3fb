"""`request.flags` and `flags` of templates: one snapshot for all evaluations of a request."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.functional import SimpleLazyObject

import flagstaff
from flagstaff import flag_enabled, get_value
from flagstaff._engine import direct
from flagstaff._request.flags import RequestFlags
from flagstaff.context_processors import flags
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag
from tests.support.fixtures import Load
from tests.support.shop import Shop
from tests.support.views import new_async, rendered, request_of, with_flags

Get = Callable[[str], Any]
TAGS = "{% load flagstaff %}{% flag 'new_checkout' %}new{% endflag %} {% value 'payment_gateway' %}"


def checkout(request: Any) -> HttpResponse:
    """Evaluates, changes the rows, and evaluates again."""
    results = [request.flags.enabled("new_checkout"), rendered(request, TAGS)]
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    flagstaff.refresh()
    results += [request.flags.enabled("new_checkout"), request.flags.value("payment_gateway")]
    results += [rendered(request, TAGS)]
    results += [flag_enabled("new_checkout", request.user), get_value("payment_gateway")]
    return HttpResponse(" ".join(map(str, results)))


async def checkout_async(request: Any) -> HttpResponse:
    results = [await request.flags.aenabled("new_checkout"), request.flags.value("payment_gateway")]
    await FeatureFlag.objects.aupdate(enabled=False)
    results += [await request.flags.aenabled("new_checkout"), await request.flags.aall()]
    return HttpResponse(" ".join(map(str, results)))


urlpatterns = [
    path("checkout/", checkout),
    path("checkout/async/", checkout_async),
    path("nothing/", lambda request: HttpResponse("nothing")),
]


@pytest.fixture(autouse=True)
def site(settings: Any, shop: Shop) -> None:
    """A flag for alice, and a value."""
    shop.flag(rollout_percent=0)
    shop.value()
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


@pytest.fixture(params=[Client, AsyncClient], ids=["WSGI", "ASGI"])
def get(request: pytest.FixtureRequest, shop: Shop) -> Get:
    """Requests a page as alice."""
    client = request.param()
    client.force_login(shop.user("alice"))
    return async_to_sync(client.get) if request.param is AsyncClient else client.get


def test_request_keeps_its_snapshot_and_the_next_has_another(load: Load, get: Get) -> None:
    load()
    assert get("/checkout/").content == b"True new stripe True stripe new stripe False paypal"
    assert get("/checkout/").content == b"False  paypal False paypal  paypal False paypal"


def test_async_view_keeps_its_snapshot(load: Load, get: Get) -> None:
    load()
    assert get("/checkout/async/").content == b"True stripe True {'new_checkout': True}"


def test_request_without_evaluation_reads_neither_database_nor_session(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "select", lambda *_: pytest.fail("the database was read"))
    response = get("/nothing/")
    django_request = getattr(response, "asgi_request", None) or response.wsgi_request
    assert django_request.session.accessed is False
    assert response.headers.get("Vary") is None


def test_flags_are_evaluated_by_key_or_all_at_once(shop: Shop) -> None:
    text = "{% if request.flags.new_checkout %}new{% endif %}{{ request.flags.missing }}"
    assert rendered(with_flags(request_of(shop.user("alice"))), text) == "newFalse"
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


def test_user_of_the_moment_is_used_also_without_auser(shop: Shop) -> None:
    request = with_flags(request_of(None))
    assert request.flags.enabled("new_checkout") is False
    assert async_to_sync(request.flags.aenabled)("new_checkout") is False
    request.user = AnonymousUser()
    assert request.flags.enabled("new_checkout") is False
    request.user = shop.user("alice")
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


@pytest.fixture
def processor(settings: Any) -> None:
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    options = settings.TEMPLATES[0]["OPTIONS"]
    options["context_processors"].append("flagstaff.context_processors.flags")


@pytest.mark.usefixtures("processor")
def test_flags_of_templates_work_in_expressions_and_share_a_snapshot(shop: Shop) -> None:
    request = request_of(shop.user("alice"))
    text = "{% if flags.new_checkout and 3 > 2 %}new{% endif %}{% if flags.banner %}!{% endif %} "
    assert rendered(request, text + TAGS) == "new new stripe"
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    assert rendered(request, text + TAGS) == "new new stripe"
    request = with_flags(request)
    assert flags(request)["flags"] is request.flags


@pytest.mark.usefixtures("processor")
def test_template_without_flags_or_request_does_not_read_database(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(shop.user("alice"))
    monkeypatch.delattr("flagstaff._engine.direct.select")
    assert rendered(request, "{{ 3 }}") == "3"
    assert rendered(None, "[{{ flags.new_checkout }}]") == "[]"
