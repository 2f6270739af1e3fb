"""`request.flags`: one snapshot for all evaluations of a request."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject

import flagstaff
from flagstaff import flag_enabled, get_value
from flagstaff._engine import direct
from flagstaff.decorators import flag_required
from flagstaff.middleware import FlagstaffMiddleware, RequestFlags
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag

pytestmark = pytest.mark.django_db
# The engine has its own connection and sees committed rows only.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)

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


@pytest.fixture
def alice() -> User:
    """An allowed user of new_checkout."""
    alice = User.objects.create(username="alice")
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    flag.allowed_users.add(alice)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    return alice


@pytest.fixture
def as_alice(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def as_alice_async(async_client: AsyncClient, alice: User) -> AsyncClient:
    async_client.force_login(alice)
    return async_client


def page_text(client: Client | AsyncClient, url: str) -> str:
    """Requests a page through WSGI or ASGI."""
    get = async_to_sync(client.get) if isinstance(client, AsyncClient) else client.get
    response = get(url)
    assert response.status_code == 200
    return str(response.content.decode())


def test_request_keeps_snapshot_when_rows_change(as_alice: Client) -> None:
    assert page_text(as_alice, "/checkout/") == "True stripe True stripe False paypal"


@COMMITTED
def test_request_keeps_snapshot_when_engine_loads_newer_one(as_alice: Client) -> None:
    with live_engine():
        assert page_text(as_alice, "/checkout/") == "True stripe True stripe False paypal"
        assert page_text(as_alice, "/checkout/") == "False paypal False paypal False paypal"


def test_async_request_keeps_snapshot(as_alice_async: AsyncClient) -> None:
    expected = "True stripe True {'new_checkout': True}"
    assert page_text(as_alice_async, "/checkout/async/") == expected


@COMMITTED
def test_async_request_keeps_snapshot_in_memory(as_alice_async: AsyncClient) -> None:
    expected = "True stripe True {'new_checkout': True}"
    with live_engine():
        assert page_text(as_alice_async, "/checkout/async/") == expected


def test_async_view_in_wsgi_and_sync_view_in_asgi_keep_snapshot(
    as_alice: Client, as_alice_async: AsyncClient
) -> None:
    assert page_text(as_alice, "/checkout/async/").startswith("True stripe True")
    FeatureFlag.objects.update(enabled=True)
    assert page_text(as_alice_async, "/checkout/").startswith("True stripe True stripe")


@pytest.mark.parametrize("kind", ["as_alice", "as_alice_async"])
def test_template_tags_use_snapshot_of_request(kind: str, request: pytest.FixtureRequest) -> None:
    client = request.getfixturevalue(kind)
    assert page_text(client, "/page/") == "new stripe, new stripe, stripe"


def test_decorated_view_uses_snapshot_of_request(as_alice: Client) -> None:
    assert page_text(as_alice, "/guarded/") == "new stripe"


def test_decorated_async_view_uses_snapshot_of_request(as_alice_async: AsyncClient) -> None:
    assert page_text(as_alice_async, "/guarded/async/") == "True"


@pytest.mark.parametrize("kind", ["as_alice", "as_alice_async"])
def test_request_without_evaluation_reads_neither_database_nor_session(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = request.getfixturevalue(kind)
    monkeypatch.setattr(direct, "read_all", lambda: pytest.fail("the database was read"))
    get: Any = async_to_sync(client.get) if isinstance(client, AsyncClient) else client.get
    response = get("/nothing/")
    django_request = getattr(response, "asgi_request", None) or response.wsgi_request
    assert django_request.session.accessed is False
    assert response.headers.get("Vary") is None


def test_each_request_has_its_own_snapshot(as_alice: Client) -> None:
    assert page_text(as_alice, "/page/").startswith("new stripe")
    assert page_text(as_alice, "/page/").startswith(" paypal")


def request_of(user: Any) -> Any:
    """Returns a request of a user that has passed the middleware."""
    request: Any = RequestFactory().get("/")
    request.user = user
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    return request


def test_template_reads_flags_by_attribute(alice: User) -> None:
    text = "{% if request.flags.new_checkout %}new{% endif %}{{ request.flags.missing }}"
    assert rendered(request_of(alice), text) == "newFalse"


def test_flags_are_evaluated_by_key_or_all_at_once(alice: User) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    flags: RequestFlags = request_of(AnonymousUser()).flags
    assert flags.all() == {"banner": True, "new_checkout": False}
    assert (flags["banner"], flags["new_checkout"]) == (True, False)
    assert flags.enabled("missing", default=True) is True
    assert flags.value("missing", "default") == "default"


def test_user_is_not_read_if_result_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    flags = request_of(SimpleLazyObject(lambda: pytest.fail("the user was read"))).flags
    assert flags.enabled("new_checkout") is True
    assert flags.all() == {"new_checkout": True}


def test_user_after_login_during_request_is_used(alice: User) -> None:
    request = request_of(AnonymousUser())
    assert request.flags.enabled("new_checkout") is False
    request.user = alice
    assert request.flags.enabled("new_checkout") is True


def test_request_without_user_is_anonymous(alice: User) -> None:
    request = request_of(None)
    del request.user
    assert request.flags.enabled("new_checkout") is False
    assert async_to_sync(request.flags.aenabled)("new_checkout") is False


def test_async_evaluation_uses_user_without_auser(alice: User) -> None:
    flags: RequestFlags = request_of(alice).flags
    assert async_to_sync(flags.aenabled)("new_checkout") is True
    assert async_to_sync(flags.aall)() == {"new_checkout": True}


def test_async_evaluation_does_not_read_user_if_result_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request = request_of(None)
    request.auser = lambda: pytest.fail("the user was read")
    assert async_to_sync(request.flags.aenabled)("new_checkout") is True


def test_override_before_first_evaluation_is_in_snapshot(alice: User) -> None:
    flags: RequestFlags = request_of(None).flags
    with override_flag("new_checkout", True):
        assert flags.enabled("new_checkout") is True
    assert flags.enabled("new_checkout") is True
    assert flag_enabled("new_checkout") is False


def test_middleware_is_async_if_next_middleware_is() -> None:
    class Next:
        def __init__(self) -> None:
            markcoroutinefunction(self)

        async def __call__(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("next")

    middleware = FlagstaffMiddleware(Next())
    assert iscoroutinefunction(middleware)
    assert async_to_sync(middleware)(RequestFactory().get("/")).content == b"next"
