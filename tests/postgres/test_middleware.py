"""`request.flags`: one moment of the database for all questions of a request."""

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
# The engine has a connection of its own and sees what is committed.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)

TAGS = "{% load flagstaff %}{% flag 'new_checkout' %}new{% endflag %} {% value 'gateway' %}"


def commit_a_change() -> None:
    """Everything is another than before, for whoever asks now."""
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    flagstaff.refresh()


def asked(request: HttpRequest, text: str) -> str:
    """What a template of the request shows."""
    return str(engines["django"].from_string(text).render({}, request))


def checkout(request: Any) -> HttpResponse:
    answers = [request.flags.enabled("new_checkout"), request.flags.value("gateway")]
    commit_a_change()
    answers += [request.flags.enabled("new_checkout"), request.flags.value("gateway")]
    answers += [flag_enabled("new_checkout", request.user), get_value("gateway")]
    return HttpResponse(" ".join(map(str, answers)))


async def checkout_async(request: Any) -> HttpResponse:
    answers = [await request.flags.aenabled("new_checkout"), request.flags.value("gateway")]
    await FeatureFlag.objects.aupdate(enabled=False)
    answers += [await request.flags.aenabled("new_checkout"), await request.flags.aall()]
    return HttpResponse(" ".join(map(str, answers)))


def page(request: Any) -> HttpResponse:
    before = asked(request, TAGS)
    commit_a_change()
    return HttpResponse(f"{before}, {asked(request, TAGS)}, {request.flags.value('gateway')}")


@flag_required("new_checkout")
def guarded(request: HttpRequest) -> HttpResponse:
    commit_a_change()
    return HttpResponse(asked(request, TAGS))


@flag_required("new_checkout")
async def guarded_async(request: Any) -> HttpResponse:
    await FeatureFlag.objects.aupdate(enabled=False)
    return HttpResponse(str(await request.flags.aenabled("new_checkout")))


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing")


urlpatterns = [
    path("checkout/", checkout),
    path("checkout/async/", checkout_async),
    path("page/", page),
    path("guarded/", guarded),
    path("guarded/async/", guarded_async),
    path("nothing/", nothing),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


@pytest.fixture
def alice() -> User:
    """A user who is on the allow-list."""
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


def shown(client: Client | AsyncClient, address: str) -> str:
    """What a page shows, through WSGI or through ASGI."""
    get = async_to_sync(client.get) if isinstance(client, AsyncClient) else client.get
    response = get(address)
    assert response.status_code == 200
    return str(response.content.decode())


def test_request_keeps_its_moment_while_the_rows_change(as_alice: Client) -> None:
    assert shown(as_alice, "/checkout/") == "True stripe True stripe False paypal"


@COMMITTED
def test_request_keeps_its_moment_while_the_snapshot_is_swapped(as_alice: Client) -> None:
    with live_engine():
        assert shown(as_alice, "/checkout/") == "True stripe True stripe False paypal"
        assert shown(as_alice, "/checkout/") == "False paypal False paypal False paypal"


def test_async_request_keeps_its_moment(as_alice_async: AsyncClient) -> None:
    answers = "True stripe True {'new_checkout': True}"
    assert shown(as_alice_async, "/checkout/async/") == answers


@COMMITTED
def test_async_request_keeps_its_moment_in_memory(as_alice_async: AsyncClient) -> None:
    answers = "True stripe True {'new_checkout': True}"
    with live_engine():
        assert shown(as_alice_async, "/checkout/async/") == answers


def test_views_of_the_other_kind_keep_their_moment(
    as_alice: Client, as_alice_async: AsyncClient
) -> None:
    assert shown(as_alice, "/checkout/async/").startswith("True stripe True")
    FeatureFlag.objects.update(enabled=True)
    assert shown(as_alice_async, "/checkout/").startswith("True stripe True stripe")


@pytest.mark.parametrize("kind", ["as_alice", "as_alice_async"])
def test_tags_of_templates_are_of_the_same_moment(
    kind: str, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue(kind)
    assert shown(client, "/page/") == "new stripe, new stripe, stripe"


def test_decorated_view_is_of_the_same_moment(as_alice: Client) -> None:
    assert shown(as_alice, "/guarded/") == "new stripe"


def test_decorated_async_view_is_of_the_same_moment(as_alice_async: AsyncClient) -> None:
    assert shown(as_alice_async, "/guarded/async/") == "True"


@pytest.mark.parametrize("kind", ["as_alice", "as_alice_async"])
def test_request_that_asks_nothing_touches_nothing(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = request.getfixturevalue(kind)
    monkeypatch.setattr(direct, "read_all", lambda: pytest.fail("the database was read"))
    get: Any = async_to_sync(client.get) if isinstance(client, AsyncClient) else client.get
    response = get("/nothing/")
    asked_for = getattr(response, "asgi_request", None) or response.wsgi_request
    assert asked_for.session.accessed is False
    assert response.headers.get("Vary") is None


def test_two_requests_have_moments_of_their_own(as_alice: Client) -> None:
    assert shown(as_alice, "/page/").startswith("new stripe")
    assert shown(as_alice, "/page/").startswith(" paypal")


def behind(user: Any) -> Any:
    """A request of this user, as views behind the middleware get it."""
    request: Any = RequestFactory().get("/")
    request.user = user
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    return request


def test_templates_reach_flags_by_a_dot(alice: User) -> None:
    text = "{% if request.flags.new_checkout %}new{% endif %}{{ request.flags.missing }}"
    assert asked(behind(alice), text) == "newFalse"


def test_flags_are_asked_by_name_and_all_at_once(alice: User) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    flags: RequestFlags = behind(AnonymousUser()).flags
    assert flags.all() == {"banner": True, "new_checkout": False}
    assert (flags["banner"], flags["new_checkout"]) == (True, False)
    assert flags.enabled("missing", default=True) is True
    assert flags.value("missing", "default") == "default"


def test_user_is_left_alone_where_the_answer_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    flags = behind(SimpleLazyObject(lambda: pytest.fail("the user was read"))).flags
    assert flags.enabled("new_checkout") is True
    assert flags.all() == {"new_checkout": True}


def test_user_who_logs_in_during_the_request_is_asked_for_from_then_on(alice: User) -> None:
    request = behind(AnonymousUser())
    assert request.flags.enabled("new_checkout") is False
    request.user = alice
    assert request.flags.enabled("new_checkout") is True


def test_request_without_a_user_is_nobodys(alice: User) -> None:
    request = behind(None)
    del request.user
    assert request.flags.enabled("new_checkout") is False
    assert async_to_sync(request.flags.aenabled)("new_checkout") is False


def test_async_question_asks_for_the_user_that_a_test_has_put_in(alice: User) -> None:
    flags: RequestFlags = behind(alice).flags
    assert async_to_sync(flags.aenabled)("new_checkout") is True
    assert async_to_sync(flags.aall)() == {"new_checkout": True}


def test_async_question_does_not_read_the_user_in_vain(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request = behind(None)
    request.auser = lambda: pytest.fail("the user was read")
    assert async_to_sync(request.flags.aenabled)("new_checkout") is True


def test_override_of_before_the_first_question_is_part_of_the_moment(alice: User) -> None:
    flags: RequestFlags = behind(None).flags
    with override_flag("new_checkout", True):
        assert flags.enabled("new_checkout") is True
    assert flags.enabled("new_checkout") is True
    assert flag_enabled("new_checkout") is False


def test_middleware_is_async_where_the_next_one_is() -> None:
    class Next:
        def __init__(self) -> None:
            markcoroutinefunction(self)

        async def __call__(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("next")

    middleware = FlagstaffMiddleware(Next())
    assert iscoroutinefunction(middleware)
    assert async_to_sync(middleware)(RequestFactory().get("/")).content == b"next"
