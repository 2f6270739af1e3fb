"""The mixin `FlagRequiredMixin`."""

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
    # Queries: Django forbids that in the thread of an event loop.
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


def subclass(view: Any, **attributes: Any) -> Any:
    """Returns a subclass of a view with these attributes."""
    return type("Subclass", (view,), attributes)


VIEWS = pytest.mark.parametrize("view", [Checkout, AsyncCheckout])


@pytest.fixture
def alice() -> User:
    """An allowed user of new_checkout."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    return alice


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


def request_of(user: Any, method: str = "get") -> HttpRequest:
    request = getattr(RequestFactory(), method)("/")
    request.user = user
    return request  # type: ignore[no-any-return]


def content_of(view: Any, request: HttpRequest, **kwargs: Any) -> str:
    """Calls a sync or async view like Django's handler and returns its content."""
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    return str(call(request, **kwargs).content.decode())


@VIEWS
def test_view_is_shown_to_user_with_flag(view: Any, alice: User) -> None:
    assert content_of(view.as_view(), request_of(alice), number=7) == "new 7"


@VIEWS
def test_context_of_the_view_is_read(view: Any, bob: User) -> None:
    def get_flag_context(self: Any) -> dict[str, object]:
        return {"country": self.request.headers.get("X-Country")}

    rules = [{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}]
    FeatureFlag.objects.create(key="german", enabled=True, rules=rules)
    german = subclass(view, flag_key="german", flag_context={"country": "DE"})
    assert content_of(german.as_view(), request_of(bob)) == "new 0"
    by_header = subclass(view, flag_key="german", get_flag_context=get_flag_context)
    with pytest.raises(Http404):
        content_of(by_header.as_view(), request_of(bob))


@VIEWS
def test_view_for_user_without_flag_is_not_found(view: Any, alice: User, bob: User) -> None:
    for user in (bob, AnonymousUser()):
        with pytest.raises(Http404):
            content_of(view.as_view(), request_of(user))


@pytest.mark.parametrize(
    "otherwise",
    [old, old_async, OldView.as_view(), staticmethod(old)],
    ids=["function", "coroutine", "class", "static method"],
)
@VIEWS
def test_otherwise_view_is_shown_to_user_without_flag(
    view: Any, otherwise: Any, alice: User, bob: User
) -> None:
    child = subclass(view, flag_otherwise=otherwise).as_view()
    assert content_of(child, request_of(alice), number=7) == "new 7"
    assert content_of(child, request_of(bob), number=7) == "old 7 of 2"


@VIEWS
def test_otherwise_view_is_inherited(view: Any, alice: User, bob: User) -> None:
    child = subclass(subclass(view, flag_otherwise=old))
    assert content_of(child.as_view(), request_of(bob)) == "old 0 of 2"


@VIEWS
def test_as_view_accepts_flag_and_otherwise_view(view: Any, alice: User, bob: User) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True).allowed_users.add(bob)
    child = view.as_view(flag_key="banner", flag_otherwise=old)
    assert content_of(child, request_of(bob)) == "new 0"
    assert content_of(child, request_of(alice)) == "old 0 of 2"


@VIEWS
def test_view_stays_sync_or_async(view: Any) -> None:
    assert iscoroutinefunction(view.as_view()) is (view is AsyncCheckout)


@VIEWS
def test_other_http_methods_are_handled_by_django(view: Any, alice: User) -> None:
    view = view.as_view()
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    assert call(request_of(alice, "post")).status_code == 405
    assert call(request_of(alice, "options")).headers["Allow"] == "GET, HEAD, OPTIONS"


def test_view_without_flag_key_is_improperly_configured() -> None:
    class WithoutKey(FlagRequiredMixin, View):
        pass

    with pytest.raises(ImproperlyConfigured) as error:
        WithoutKey.as_view()(request_of(None))
    assert str(error.value) == 'WithoutKey has no flag; set flag_key = "…" in the class'


def test_generic_views_depend_on_flag(alice: User, bob: User) -> None:
    class Page(FlagRequiredMixin, TemplateView):
        flag_key = "new_checkout"
        template_name = "admin/base_site.html"

    class Redirect(FlagRequiredMixin, RedirectView):
        flag_key = "new_checkout"
        url = "/new/"

    for view in (Page, Redirect):
        assert view.as_view()(request_of(alice)).status_code in (200, 302)
        with pytest.raises(Http404):
            view.as_view()(request_of(bob))


def test_login_required_mixin_before_runs_first(alice: User) -> None:
    class Members(LoginRequiredMixin, Checkout):
        pass

    assert Members.as_view()(request_of(AnonymousUser())).status_code == 302
    assert content_of(Members.as_view(), request_of(alice)) == "new 0"


def test_async_view_accepts_response_of_sync_mixin(alice: User) -> None:
    class Closed(View):
        def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return HttpResponse("closed")

    class Members(FlagRequiredMixin, Closed):
        flag_key = "new_checkout"

        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("new")

    assert content_of(Members.as_view(), request_of(alice)) == "closed"


@VIEWS
def test_view_uses_snapshot_of_request(view: Any, alice: User) -> None:
    request: Any = request_of(alice)
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    assert request.flags.enabled("new_checkout") is True
    FeatureFlag.objects.update(enabled=False)
    assert content_of(view.as_view(), request) == "new 0"
    with pytest.raises(Http404):
        content_of(view.as_view(), request_of(alice))
