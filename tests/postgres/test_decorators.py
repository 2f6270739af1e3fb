"""A view guarded by a flag."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import Http404, HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from flagstaff.decorators import flag_required
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine

pytestmark = pytest.mark.django_db
# The engine has a connection of its own and sees what is committed.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

REFUSED = "the flag new_checkout is not on for this user"


def new(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"new {number}")


async def new_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"new {number}")


def old(request: HttpRequest, number: int = 0) -> HttpResponse:
    # Asks the database, as views do: in the thread of an event loop Django forbids it.
    return HttpResponse(f"old {number} of {User.objects.count()}")


async def old_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"old {number} of {await User.objects.acount()}")


VIEWS = pytest.mark.parametrize("view", [new, new_async])


def asked_by(user: Any) -> HttpRequest:
    """A request as views get it behind AuthenticationMiddleware: its user is not read yet."""
    request = RequestFactory().get("/")
    request.session = SessionStore()
    if user.pk:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    return request


def served(view: Any, *arguments: Any, **others: Any) -> str:
    """What a view answers, sync or async, as Django's handler calls it."""
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    return str(call(*arguments, **others).content.decode())


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


@pytest.fixture(autouse=True)
def flag(alice: User) -> FeatureFlag:
    """On for alice, and for nobody else."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    flag.allowed_users.add(alice)
    return flag


@VIEWS
def test_view_is_there_for_who_has_the_flag(view: Any, alice: User) -> None:
    guarded = flag_required("new_checkout")(view)
    assert served(guarded, asked_by(alice), 7) == "new 7"
    assert served(guarded, asked_by(alice), number=7) == "new 7"


@VIEWS
def test_view_is_not_found_by_anybody_else(view: Any, bob: User) -> None:
    for user in (bob, AnonymousUser()):
        with pytest.raises(Http404) as error:
            served(flag_required("new_checkout")(view), asked_by(user))
        assert str(error.value) == REFUSED


@pytest.mark.parametrize("otherwise", [old, old_async])
@VIEWS
def test_other_view_is_shown_to_anybody_else(
    view: Any, otherwise: Any, alice: User, bob: User
) -> None:
    guarded = flag_required("new_checkout", otherwise=otherwise)(view)
    assert served(guarded, asked_by(alice), 7) == "new 7"
    assert served(guarded, asked_by(bob), 7) == "old 7 of 2"
    assert served(guarded, asked_by(bob), number=7) == "old 7 of 2"


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


def test_method_is_guarded(alice: User, bob: User) -> None:
    assert served(Checkout.as_view(), asked_by(alice)) == "new"
    assert served(Checkout.as_view(), asked_by(bob)) == "old"


def test_async_method_is_guarded(alice: User, bob: User) -> None:
    assert served(AsyncCheckout.as_view(), asked_by(alice)) == "new"
    with pytest.raises(Http404):
        served(AsyncCheckout.as_view(), asked_by(bob))


class PlainAsyncCheckout(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("new")


def test_async_view_of_a_class_is_guarded(alice: User, bob: User) -> None:
    guarded = flag_required("new_checkout", otherwise=old)(PlainAsyncCheckout.as_view())
    assert iscoroutinefunction(guarded)
    assert served(guarded, asked_by(alice)) == "new"
    assert served(guarded, asked_by(bob)) == "old 0 of 2"


@VIEWS
def test_view_keeps_its_name_and_what_others_have_noted_on_it(view: Any) -> None:
    guarded: Any = flag_required("new_checkout")(csrf_exempt(view))
    assert (guarded.__name__, guarded.__module__) == (view.__name__, __name__)
    assert guarded.csrf_exempt is True
    assert inspect.signature(guarded) == inspect.signature(view)
    assert iscoroutinefunction(guarded) is iscoroutinefunction(view)


@VIEWS
def test_request_without_a_user_is_nobodys(view: Any) -> None:
    with pytest.raises(Http404):
        served(flag_required("new_checkout")(view), RequestFactory().get("/"))


@VIEWS
def test_user_that_a_test_has_put_into_the_request_is_asked_for(view: Any, alice: User) -> None:
    request = RequestFactory().get("/")
    request.user = alice
    assert served(flag_required("new_checkout")(view), request) == "new 0"


def test_request_that_wraps_djangos_is_one(alice: User) -> None:
    class Wrapped:
        def __init__(self, request: HttpRequest) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    assert served(flag_required("new_checkout")(new), Wrapped(asked_by(alice))) == "new 0"


@VIEWS
def test_function_that_is_no_view_is_refused(view: Any) -> None:
    with pytest.raises(TypeError) as error:
        served(flag_required("new_checkout")(view), "no request")
    told = "flag_required decorates views, whose first argument is the request"
    assert str(error.value) == told


def test_sync_view_does_not_read_the_user_where_all_have_one_answer(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    request: Any = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert served(flag_required("new_checkout")(new), request) == "new 0"


@COMMITTED
@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ({"enabled": True, "rollout_percent": 100}, "new 0"),
        ({"enabled": True, "rollout_percent": 0}, "old 0 of 0"),
        ({"enabled": False, "rollout_percent": 50}, "old 0 of 0"),
        ({"key": "renamed"}, "old 0 of 0"),
    ],
    ids=str,
)
def test_async_view_does_not_read_the_user_where_all_have_one_answer(
    state: dict[str, Any], answer: str, alice: User
) -> None:
    alice.delete()
    FeatureFlag.objects.update(**state)
    request = RequestFactory().get("/")
    request.auser = lambda: pytest.fail("the user was read")
    with live_engine():
        assert served(flag_required("new_checkout", otherwise=old)(new_async), request) == answer


@COMMITTED
def test_async_view_reads_the_user_where_the_answer_depends_on_it(alice: User, bob: User) -> None:
    guarded = flag_required("new_checkout", otherwise=old_async)(new_async)
    with live_engine():
        assert served(guarded, asked_by(alice)) == "new 0"
        assert served(guarded, asked_by(bob)) == "old 0 of 2"


def test_view_of_nobody_needs_no_event_loop_of_its_own() -> None:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with pytest.raises(Http404):
        asyncio.run(flag_required("new_checkout")(new_async)(request))
