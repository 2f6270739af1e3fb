"""Django's cache never stores the page of a visitor."""

import copy
import pickle
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.views.decorators.cache import cache_page

from flagstaff._request.visitor import keep_out_of_cache

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


numbers = count()
urlpatterns = [
    path("page/", page),
    path("page/async/", page_async),
    path("cached/", cache_page(600)(page)),
    path("cached/async/", cache_page(600)(page_async)),
    path("both/", both),
    path("plain/", cache_page(600)(lambda _request: HttpResponse(str(next(numbers))))),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [MIDDLEWARE]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


def visit(url: str, cookie: str | None = None) -> Any:
    """The page for a browser, which is new without a cookie."""
    client: Any = AsyncClient() if url.endswith("/async/") else Client()
    if cookie:
        client.cookies["flagstaff_visitor"] = cookie
    return async_to_sync(client.get)(url) if url.endswith("/async/") else client.get(url)


PAGES, EARLY_PAGES = ["/page/", "/page/async/", "/cached/", "/both/"], ["/page/", "/cached/"]


@pytest.mark.parametrize(
    ("order", "urls"),
    [
        ([MIDDLEWARE], ["/cached/", "/cached/async/", "/both/"]),
        ([UPDATE, MIDDLEWARE, FETCH], PAGES),
        ([MIDDLEWARE, UPDATE, FETCH], PAGES),
        # A middleware reads the visitor before the view does.
        ([MIDDLEWARE, EARLY], EARLY_PAGES),
        ([UPDATE, MIDDLEWARE, EARLY, FETCH], EARLY_PAGES),
        ([MIDDLEWARE, EARLY, UPDATE, FETCH], EARLY_PAGES),
    ],
)
def test_page_of_a_visitor_is_not_stored(settings: Any, order: list[str], urls: list[str]) -> None:
    settings.MIDDLEWARE = order
    for url in urls:
        first, second = visit(url), visit(url)
        assert first.content != second.content
        cookies = [response.cookies["flagstaff_visitor"].value for response in (first, second)]
        assert cookies[0] != cookies[1]
        # The second visits, with a cookie.
        assert [visit(url, cookie).content for cookie in cookies] == [first.content, second.content]


def test_page_without_a_visitor_is_stored() -> None:
    assert visit("/plain/").content == visit("/plain/").content


def test_request_that_is_kept_out_is_as_before_and_copied_as_its_original() -> None:
    request: Any = RequestFactory().get("/")
    original = type(request)
    keep_out_of_cache(request)
    keep_out_of_cache(request)
    request._cache_update_cache = True
    assert request._cache_update_cache is False
    assert isinstance(request, original)
    assert (repr(request), type(request).__name__) == ("<WSGIRequest: GET '/'>", "WSGIRequest")
    plain_request = HttpRequest()
    plain_request.path = "/page/"
    keep_out_of_cache(plain_request)
    for copied in (copy.copy(plain_request), pickle.loads(pickle.dumps(plain_request))):
        assert (type(copied), copied.path) == (HttpRequest, "/page/")
    # Another object than a request is left as it is.
    keep_out_of_cache(object())
