"""A class-based view guarded by a flag."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views import View
from django.views.generic import RedirectView, TemplateView

from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db


def old(request: HttpRequest, number: int = 0) -> HttpResponse:
    # Asks the database, as views do: in the thread of an event loop Django forbids it.
    return HttpResponse(f"old {number} of {User.objects.count()}")


async def old_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"old {number} of {await User.objects.acount()}")


class OldView(View):
    def get(self, request: HttpRequest, number: int = 0) -> HttpResponse:
        return HttpResponse(f"old {number} of {User.objects.count()}")


class Checkout(FlagRequiredMixin, View):
    flag_key = "new_checkout"

    def get(self, request: HttpRequest, number: int = 0) -> HttpResponse:
        return HttpResponse(f"new {number}")


class AsyncCheckout(FlagRequiredMixin, View):
    flag_key = "new_checkout"

    async def get(self, request: HttpRequest, number: int = 0) -> HttpResponse:
        return HttpResponse(f"new {number}")


def heir(view: Any, **body: Any) -> Any:
    """The class of a project that writes this into the body."""
    return type("Heir", (view,), body)


VIEWS = pytest.mark.parametrize("view", [Checkout, AsyncCheckout])


@pytest.fixture
def alice() -> User:
    """A user who is on the allow-list."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    return alice


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


def asked_by(user: Any, method: str = "get") -> HttpRequest:
    request = getattr(RequestFactory(), method)("/")
    request.user = user
    return request  # type: ignore[no-any-return]


def served(view: Any, request: HttpRequest, **arguments: Any) -> str:
    """What a view answers, sync or async, as Django's handler calls it."""
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    return str(call(request, **arguments).content.decode())


@VIEWS
def test_view_is_there_for_who_has_the_flag(view: Any, alice: User) -> None:
    assert served(view.as_view(), asked_by(alice), number=7) == "new 7"


@VIEWS
def test_view_is_not_found_by_anybody_else(view: Any, alice: User, bob: User) -> None:
    for user in (bob, AnonymousUser()):
        with pytest.raises(Http404) as error:
            served(view.as_view(), asked_by(user))
        assert str(error.value) == "the flag new_checkout is not on for this user"


@pytest.mark.parametrize(
    "otherwise",
    [old, old_async, OldView.as_view(), staticmethod(old)],
    ids=["function", "coroutine", "class", "static method"],
)
@VIEWS
def test_other_view_is_shown_to_anybody_else(
    view: Any, otherwise: Any, alice: User, bob: User
) -> None:
    written = heir(view, flag_otherwise=otherwise).as_view()
    assert served(written, asked_by(alice), number=7) == "new 7"
    assert served(written, asked_by(bob), number=7) == "old 7 of 2"


@VIEWS
def test_other_view_is_inherited(view: Any, alice: User, bob: User) -> None:
    child = heir(heir(view, flag_otherwise=old))
    assert served(child.as_view(), asked_by(bob)) == "old 0 of 2"


@VIEWS
def test_flag_and_other_view_can_be_given_in_the_urls(view: Any, alice: User, bob: User) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True).allowed_users.add(bob)
    given = view.as_view(flag_key="banner", flag_otherwise=old)
    assert served(given, asked_by(bob)) == "new 0"
    assert served(given, asked_by(alice)) == "old 0 of 2"


@VIEWS
def test_view_stays_of_its_kind(view: Any) -> None:
    assert iscoroutinefunction(view.as_view()) is (view is AsyncCheckout)


@VIEWS
def test_methods_are_refused_as_ever(view: Any, alice: User) -> None:
    view = view.as_view()
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    assert call(asked_by(alice, "post")).status_code == 405
    assert call(asked_by(alice, "options")).headers["Allow"] == "GET, HEAD, OPTIONS"


def test_view_without_a_flag_is_a_programmers_error() -> None:
    class Forgotten(FlagRequiredMixin, View):
        pass

    with pytest.raises(ImproperlyConfigured) as error:
        Forgotten.as_view()(asked_by(None))
    assert str(error.value) == 'Forgotten has no flag; write flag_key = "…" in its body'


def test_generic_views_are_guarded(alice: User, bob: User) -> None:
    class Page(FlagRequiredMixin, TemplateView):
        flag_key = "new_checkout"
        template_name = "admin/base_site.html"

    class Moved(FlagRequiredMixin, RedirectView):
        flag_key = "new_checkout"
        url = "/new/"

    for view in (Page, Moved):
        assert view.as_view()(asked_by(alice)).status_code in (200, 302)
        with pytest.raises(Http404):
            view.as_view()(asked_by(bob))


def test_log_in_is_asked_for_first_by_a_mixin_before(alice: User) -> None:
    class Members(LoginRequiredMixin, Checkout):
        pass

    assert Members.as_view()(asked_by(AnonymousUser())).status_code == 302
    assert served(Members.as_view(), asked_by(alice)) == "new 0"


def test_another_mixin_may_answer_an_async_view_at_once(alice: User) -> None:
    class Closed(View):
        def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return HttpResponse("closed")

    class Members(FlagRequiredMixin, Closed):
        flag_key = "new_checkout"

        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("new")

    assert served(Members.as_view(), asked_by(alice)) == "closed"


@VIEWS
def test_view_is_of_the_requests_moment(view: Any, alice: User) -> None:
    request: Any = asked_by(alice)
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    assert request.flags.enabled("new_checkout") is True
    FeatureFlag.objects.update(enabled=False)
    assert served(view.as_view(), request) == "new 0"
    with pytest.raises(Http404):
        served(view.as_view(), asked_by(alice))
