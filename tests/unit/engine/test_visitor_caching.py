"""Django's cache never stores the page of a visitor."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.views.decorators.cache import cache_page

from flagstaff._engine.uncached import keep_out_of_cache

MIDDLEWARE = "flagstaff.middleware.FlagstaffMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
EARLY = f"{__name__}.read_early"


def read_early(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """A middleware whose result the view shows."""

    def middleware(request: Any) -> HttpResponse:
        request.early = request.flags.visitor
        return get_response(request)

    return middleware


def page(request: Any) -> HttpResponse:
    return HttpResponse(getattr(request, "early", None) or request.flags.visitor)


async def page_async(request: Any) -> HttpResponse:
    return HttpResponse(request.flags.visitor)


def both(request: Any) -> HttpResponse:
    """A cached view in a function that has read the visitor before."""
    assert request.flags.visitor
    return cache_page(600)(page)(request)


calls: list[str] = []


@cache_page(600)
def plain(request: HttpRequest) -> HttpResponse:
    calls.append(request.path)
    return HttpResponse("plain")


urlpatterns = [
    path("page/", page),
    path("page/async/", page_async),
    path("cached/", cache_page(600)(page)),
    path("cached/async/", cache_page(600)(page_async)),
    path("both/", both),
    path("plain/", plain),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [MIDDLEWARE]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


def visit(url: str) -> Any:
    """The page for a new browser."""
    if url.endswith("/async/"):
        return async_to_sync(AsyncClient().get)(url)
    return Client().get(url)


def assert_two_browsers_have_their_own_page(url: str) -> None:
    first, second = visit(url), visit(url)
    assert first.content != second.content
    assert first.cookies["flagstaff_visitor"].value != second.cookies["flagstaff_visitor"].value


@pytest.mark.parametrize("url", ["/cached/", "/cached/async/", "/both/"])
def test_cached_view_is_not_stored(url: str) -> None:
    assert_two_browsers_have_their_own_page(url)


@pytest.mark.parametrize("url", ["/cached/", "/cached/async/"])
def test_cached_view_of_browsers_with_cookies_is_not_stored(url: str) -> None:
    first, second = Client(), Client()
    seen = [first.get(url).content, second.get(url).content]
    assert [first.get(url).content, second.get(url).content] == seen
    assert seen[0] != seen[1]


@pytest.mark.parametrize("url", ["/page/", "/page/async/", "/cached/", "/both/"])
@pytest.mark.parametrize(
    "order",
    [[UPDATE, MIDDLEWARE, FETCH], [MIDDLEWARE, UPDATE, FETCH]],
    ids=["outside", "inside"],
)
def test_cache_middleware_does_not_store_the_page(
    settings: Any, url: str, order: list[str]
) -> None:
    settings.MIDDLEWARE = order
    assert_two_browsers_have_their_own_page(url)


@pytest.mark.parametrize("url", ["/page/", "/cached/"])
@pytest.mark.parametrize(
    "order",
    [[MIDDLEWARE, EARLY], [UPDATE, MIDDLEWARE, EARLY, FETCH], [MIDDLEWARE, EARLY, UPDATE, FETCH]],
    ids=["without the cache", "outside", "inside"],
)
def test_page_of_a_visitor_that_was_read_before_the_view_is_not_stored(
    settings: Any, url: str, order: list[str]
) -> None:
    settings.MIDDLEWARE = order
    assert_two_browsers_have_their_own_page(url)


def test_page_without_a_visitor_is_stored() -> None:
    calls.clear()
    assert visit("/plain/").content == visit("/plain/").content == b"plain"
    assert calls == ["/plain/"]


def test_request_that_is_kept_out_is_as_before() -> None:
    request: Any = RequestFactory().get("/")
    original = type(request)
    keep_out_of_cache(request)
    keep_out_of_cache(request)
    request._cache_update_cache = True
    assert request._cache_update_cache is False
    assert isinstance(request, original)
    assert (repr(request), type(request).__name__) == ("<WSGIRequest: GET '/'>", "WSGIRequest")


def test_request_that_is_kept_out_is_copied_and_pickled_as_its_original() -> None:
    request = HttpRequest()
    request.path = "/page/"
    keep_out_of_cache(request)
    for copied in (copy.copy(request), pickle.loads(pickle.dumps(request))):
        assert (type(copied), copied.path) == (HttpRequest, "/page/")


def test_other_object_than_a_request_is_left_as_it_is() -> None:
    keep_out_of_cache(object())
