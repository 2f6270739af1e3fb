"""The mixin `FlagRequiredMixin`."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.views import View
from django.views.generic import RedirectView, TemplateView

from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import FeatureFlag
from tests.support.views import content_of, new, new_async, old, old_async, request_of, with_flags

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_checkout")]


class Checkout(FlagRequiredMixin, View):
    flag_key = "new_checkout"
    get = staticmethod(new)


class AsyncCheckout(FlagRequiredMixin, View):
    flag_key = "new_checkout"
    get = staticmethod(new_async)


class OldView(View):
    get = staticmethod(old)


def subclass(view: Any, **attributes: Any) -> Any:
    """Returns a subclass of a view with these attributes."""
    return type("Subclass", (view,), attributes)


VIEWS = pytest.mark.parametrize("view", [Checkout, AsyncCheckout])


@VIEWS
def test_view_is_shown_to_user_with_flag_only(view: Any, alice: User, bob: User) -> None:
    assert content_of(view.as_view(), request_of(alice), number=7) == "new 7"
    for user in (bob, AnonymousUser()):
        with pytest.raises(Http404):
            content_of(view.as_view(), request_of(user))
    assert iscoroutinefunction(view.as_view()) is (view is AsyncCheckout)
    # Django handles other methods.
    call = async_to_sync(view.as_view()) if view is AsyncCheckout else view.as_view()
    assert call(request_of(alice, "post")).status_code == 405
    assert call(request_of(alice, "options")).headers["Allow"] == "GET, HEAD, OPTIONS"


@VIEWS
@pytest.mark.usefixtures("german")
def test_context_of_the_view_is_read(view: Any, bob: User) -> None:
    def get_flag_context(self: Any) -> dict[str, object]:
        return {"country": self.request.headers.get("X-Country")}

    german = subclass(view, flag_key="german", flag_context={"country": "DE"})
    assert content_of(german.as_view(), request_of(bob)) == "new 0"
    by_header = subclass(view, flag_key="german", get_flag_context=get_flag_context)
    with pytest.raises(Http404):
        content_of(by_header.as_view(), request_of(bob))


@pytest.mark.parametrize(
    "otherwise",
    [old, old_async, OldView.as_view(), staticmethod(old)],
    ids=["function", "coroutine", "class", "static method"],
)
@VIEWS
def test_otherwise_view_is_shown_to_user_without_flag(
    view: Any, otherwise: Any, alice: User, bob: User
) -> None:
    # Also by a class that inherits it.
    child = subclass(subclass(view, flag_otherwise=otherwise)).as_view()
    assert content_of(child, request_of(alice), number=7) == "new 7"
    assert content_of(child, request_of(bob), number=7) == "old 7 of 2"


@VIEWS
def test_as_view_accepts_flag_and_otherwise_view(view: Any, alice: User, bob: User) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True).allowed_users.add(bob)
    child = view.as_view(flag_key="banner", flag_otherwise=old)
    assert content_of(child, request_of(bob)) == "new 0"
    assert content_of(child, request_of(alice)) == "old 0 of 2"


@pytest.mark.parametrize("key", [None, 3])
def test_view_without_flag_key_is_improperly_configured(key: Any) -> None:
    class WithoutKey(FlagRequiredMixin, View):
        flag_key = key

    with pytest.raises(ImproperlyConfigured) as error:
        WithoutKey.as_view()(request_of(AnonymousUser()))
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
        get = staticmethod(new_async)

    assert content_of(Members.as_view(), request_of(alice)) == "closed"


@VIEWS
def test_view_uses_snapshot_of_request(view: Any, alice: User) -> None:
    request = with_flags(request_of(alice))
    assert request.flags.enabled("new_checkout") is True
    FeatureFlag.objects.update(enabled=False)
    assert content_of(view.as_view(), request) == "new 0"
    with pytest.raises(Http404):
        content_of(view.as_view(), request_of(alice))
