"""The cookie of a visitor: when a response sets or deletes it, and what it says to caches."""

import asyncio
import copy
import logging
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import async_to_sync
from django.core.signing import TimestampSigner
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.views.decorators.cache import cache_control
from rest_framework.request import Request as RestRequest

from flagstaff import _log
from flagstaff._core import Observation, observed_request
from flagstaff._request import visitor
from flagstaff._request.context import visitor_of
from flagstaff._request.flags import flags_of
from flagstaff._request.visitor import draw_id, read_id, sign_id
from flagstaff.exceptions import ConfigurationError
from flagstaff.middleware import FlagstaffMiddleware
from tests.support.views import visitor_id_of

NAME = "flagstaff_visitor"
YEAR = 365 * 86_400
MIDDLEWARE = "flagstaff.middleware.FlagstaffMiddleware"


def text_of(request: Any) -> HttpResponse:
    """Shows the visitor's id, which it draws."""
    return HttpResponse(request.flags.visitor)


async def text_of_async(request: Any) -> HttpResponse:
    return HttpResponse(request.flags.visitor)


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def failing(request: Any) -> HttpResponse:
    assert request.flags.visitor
    raise RuntimeError("failed")


def streamed(request: Any) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        yield request.flags.visitor or "no visitor"

    return StreamingHttpResponse(body())


async def streamed_async(request: Any) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        yield request.flags.visitor or "no visitor"

    return StreamingHttpResponse(body())


def withdrawn(request: Any) -> HttpResponse:
    assert request.flags.visitor
    response = HttpResponse("withdrawn")
    response.delete_cookie(NAME)
    return response


def replaced(request: Any) -> HttpResponse:
    before = request.flags.visitor
    request.flags.context = {"country": "DE"}
    return HttpResponse(before == request.flags.visitor == request.flags.context.visitor_id)


urlpatterns = [
    path("visitor/", text_of),
    path("visitor/async/", text_of_async),
    path("public/", cache_control(public=True, max_age=600)(text_of)),
    path("explained/", lambda request: HttpResponse(request.flags.context.visitor(False))),
    path("plain/", plain),
    path("failing/", failing),
    path("streamed/", streamed),
    path("streamed/async/", streamed_async),
    path("withdrawn/", withdrawn),
    path("replaced/", replaced),
]


@pytest.fixture(autouse=True)
def site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [MIDDLEWARE]
    monkeypatch.setattr(_log, "_logged", set())


Get = Callable[..., Any]


@pytest.fixture(params=["", "async/"], ids=["sync", "async"])
def get(request: pytest.FixtureRequest, client: Client, async_client: AsyncClient) -> Get:
    """Requests a page through WSGI or ASGI."""
    is_async = bool(request.param)
    used: Any = async_client if is_async else client
    send = async_to_sync(used.get) if is_async else used.get

    def get(page: str, cookie: str | None = None, **extra: Any) -> Any:
        if cookie is not None:
            used.cookies[NAME] = cookie
        return send(page, **extra)

    return get


@pytest.fixture(params=["/visitor/", "/visitor/async/"])
def page(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def served(view: Callable[[Any], HttpResponse]) -> Any:
    """The response of a view behind the middleware."""
    return FlagstaffMiddleware(view)(RequestFactory().get("/"))


def test_first_use_of_visitor_sets_cookie_which_keeps_the_id(get: Get, page: str) -> None:
    first = get(page)
    assert first.content.decode() == visitor_id_of(first)
    cookie = first.cookies[NAME]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert (cookie["max-age"], cookie["domain"], cookie["secure"]) == (YEAR, "", "")
    second = get(page)
    assert second.content == first.content
    assert not second.cookies


def test_cookie_is_secure_over_https_or_if_sessions_are(client: Client, settings: Any) -> None:
    assert client.get("/visitor/", secure=True).cookies[NAME]["secure"] is True
    settings.SESSION_COOKIE_SECURE = True
    assert Client().get("/visitor/").cookies[NAME]["secure"] is True


def test_cookie_has_name_age_and_domain_of_valid_settings(
    get: Get, page: str, settings: Any
) -> None:
    settings.FLAGSTAFF = {
        "VISITOR_COOKIE_NAME": "v",
        "VISITOR_COOKIE_AGE": 3600,
        "VISITOR_COOKIE_DOMAIN": ".shop.example",
    }
    cookie = get(page).cookies["v"]
    assert (cookie["max-age"], cookie["domain"]) == (3600, ".shop.example")
    settings.FLAGSTAFF = {"VISITOR_COOKIE_AGE": "a year"}
    with pytest.raises(ConfigurationError, match="VISITOR_COOKIE_AGE"):
        get(page)


def test_page_without_visitor_is_as_without_middleware(get: Get) -> None:
    for cookie in (None, sign_id("visitor")):
        response = get("/plain/", cookie)
        assert not response.cookies
        assert not response.headers.keys() & {"Vary", "Cache-Control"}


def test_reading_without_drawing_sets_no_cookie(get: Get) -> None:
    response = get("/explained/")
    assert response.content == b"None"
    assert not response.cookies
    assert (response["Vary"], response["Cache-Control"]) == ("Cookie", "private")
    assert get("/explained/", sign_id("visitor")).content == b"visitor"


@pytest.mark.parametrize(
    "text",
    ["", "forged", "visitor:1:2", "é", "a" * 5000, sign_id("visitor", time.time() - YEAR - 10)],
    ids=["empty", "forged", "signed", "no ASCII", "long", "expired"],
)
def test_cookie_that_is_not_valid_is_replaced(get: Get, page: str, text: str) -> None:
    response = get(page, text)
    assert response.content.decode() == visitor_id_of(response) != "visitor"


def test_cookie_signed_with_a_fallback_key_is_signed_again_for_the_rest_of_its_age(
    get: Get, page: str, settings: Any
) -> None:
    drawn_at = int(time.time()) - 86_400
    text = sign_id("visitor", drawn_at)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new secret"
    response = get(page, text)
    settings.SECRET_KEY_FALLBACKS = []
    assert response.content.decode() == visitor_id_of(response) == "visitor"
    assert response["Cache-Control"] == "private"
    cookie = response.cookies[NAME]
    signed = read_id(cookie.value, YEAR)
    assert signed
    assert signed.drawn_at == drawn_at
    assert abs(cookie["max-age"] - (YEAR - 86_400)) < 60


def test_cookie_that_the_view_deletes_stays_deleted(get: Get) -> None:
    response = get("/withdrawn/")
    assert response.cookies[NAME]["max-age"] == 0
    assert response["Cache-Control"] == "private"


def from_another_site(destination: str) -> dict[str, Any]:
    return {"headers": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": destination}}


def test_link_of_another_site_draws_a_visitor_but_a_form_only_of_the_same_site(
    client: Client,
) -> None:
    response = client.post("/visitor/", **from_another_site("document"))
    assert (response.content, len(response.cookies)) == (b"None", 0)
    assert (response["Vary"], response["Cache-Control"]) == ("Cookie", "private")
    response = client.post("/visitor/", headers={"Sec-Fetch-Site": "same-origin"})
    assert response.content.decode() == visitor_id_of(response)
    response = Client().get("/visitor/", **from_another_site("document"))
    assert response.content.decode() == visitor_id_of(response)


@pytest.mark.parametrize("destination", ["iframe", "empty", "image"])
def test_request_inside_another_site_draws_no_visitor(get: Get, destination: str) -> None:
    response = get("/visitor/", **from_another_site(destination))
    assert (response.content, len(response.cookies)) == (b"None", 0)
    # A cookie that the other site may send is used.
    response = get("/visitor/", sign_id("visitor"), **from_another_site(destination))
    assert response.content == b"visitor"


def test_failing_view_sets_cookie(client: Client) -> None:
    client.raise_request_exception = False
    response = client.get("/failing/")
    assert response.status_code == 500
    assert visitor_id_of(response)
    assert response["Cache-Control"] == "private"


def test_replaced_context_keeps_the_visitor(get: Get) -> None:
    assert get("/replaced/").content == b"True"


def test_threads_of_one_request_draw_one_id() -> None:
    barrier = Barrier(8)
    ids: set[str | None] = set()

    def view(request: Any) -> HttpResponse:
        def use(_number: int) -> str | None:
            barrier.wait()
            visitor: str | None = request.flags.visitor
            return visitor

        with ThreadPoolExecutor(8) as pool:
            ids.update(pool.map(use, range(8)))
        return HttpResponse()

    assert {visitor_id_of(served(view))} == ids


@pytest.mark.parametrize("cookie", [None, sign_id("visitor")], ids=["no cookie", "a cookie"])
def test_response_is_private_and_varies_on_cookie(get: Get, page: str, cookie: str | None) -> None:
    response = get(page, cookie)
    assert (response["Vary"], response["Cache-Control"]) == ("Cookie", "private")
    public = get("/public/", cookie)
    assert set(public["Cache-Control"].split(", ")) == {"private", "max-age=600"}


@pytest.fixture
def asks(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Sets the function that VISITOR_COOKIE names."""
    settings.FLAGSTAFF = {"VISITOR_COOKIE": f"{__name__}.consent"}
    return lambda consent: monkeypatch.setitem(globals(), "consent", consent)


def test_consent_to_the_request_lets_cookie_be_set(get: Get, page: str, asks: Any) -> None:
    asks(lambda request: request.path == page)
    response = get(page)
    assert response.content.decode() == visitor_id_of(response)
    assert get(page).content == response.content


def test_refused_consent_is_no_visitor_and_deletes_cookie(get: Get, page: str, asks: Any) -> None:
    asks(lambda _request: False)
    first = get(page)
    assert not first.cookies
    second = get(page, sign_id("visitor"))
    for response in (first, second):
        assert response.content == b"None"
        assert (response["Vary"], response["Cache-Control"]) == ("Cookie", "private")
    cookie = second.cookies[NAME]
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", 0, "/")
    assert cookie["samesite"] == "Lax"


def test_setting_false_is_no_visitor_and_deletes_cookie(get: Get, page: str, settings: Any) -> None:
    settings.FLAGSTAFF = {"VISITOR_COOKIE": False}
    response = get(page)
    assert response.content == b"None"
    assert not response.cookies
    assert not response.headers.keys() & {"Vary", "Cache-Control"}
    response = get(page, sign_id("visitor"))
    assert response.content == b"None"
    assert response.cookies[NAME]["max-age"] == 0
    assert (response["Vary"], response["Cache-Control"]) == ("Cookie", "private")


async def later(_request: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Mock(side_effect=RuntimeError("the password is hunter2")), "raised RuntimeError in "),
        (later, "returned a coroutine, not True or False"),
        (lambda _request: "no", "returned a str, not True or False"),
        (lambda _request: None, "returned a NoneType, not True or False"),
        (lambda _request: 1, "returned a int, not True or False"),
    ],
)
def test_consent_that_raises_or_is_no_bool_is_no_consent_and_logged_once(
    get: Get, asks: Any, caplog: pytest.LogCaptureFixture, answer: Any, problem: str
) -> None:
    asks(answer)
    for _ in range(2):
        response = get("/visitor/", sign_id("visitor"))
        assert response.content == b"None"
        assert response["Cache-Control"] == "private"
        # The cookie is not deleted.
        assert not response.cookies
    [record] = caplog.records
    assert f"{__name__}.consent in VISITOR_COOKIE {problem}" in record.message
    assert "hunter2" not in caplog.text


def test_consent_that_cannot_be_imported_is_no_consent_and_logged(
    get: Get, page: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {"VISITOR_COOKIE": "shop.missing.consent"}
    assert get(page).content == b"None"
    assert "shop.missing.consent in VISITOR_COOKIE raised ModuleNotFoundError" in caplog.text


def test_consent_that_needs_the_visitor_is_asked_once(
    asks: Any, caplog: pytest.LogCaptureFixture, client: Client
) -> None:
    asked: list[object] = []

    def consent(request: Any) -> bool:
        asked.append(request.flags.visitor)
        return True

    asks(consent)
    response = client.get("/visitor/")
    assert response.content.decode() == visitor_id_of(response)
    assert asked == [None]
    assert "evaluates a flag that is bucketed by visitor, which it must not do" in caplog.text
    # None is not a consent.
    refused: list[object] = []
    asks(refused.append)
    assert client.get("/replaced/").content == b"True"
    assert len(refused) == 1


def test_interrupt_of_consent_ends_the_request(client: Client, asks: Any) -> None:
    asks(Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        client.get("/visitor/")


def body_of(response: Any) -> bytes:
    async def joined() -> bytes:
        return b"".join([part async for part in response])

    return asyncio.run(joined()) if response.is_async else b"".join(response.streaming_content)


@pytest.mark.parametrize("url", ["/streamed/", "/streamed/async/"])
def test_streaming_body_draws_no_id_and_logs_once(
    get: Get, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        response = get(url)
        assert body_of(response) == b"no visitor"
        assert not response.cookies
    [record] = [record for record in caplog.records if record.name == "flagstaff"]
    assert "evaluated too late to set a cookie" in record.message
    assert body_of(get(url, sign_id("visitor"))) == b"visitor"


def test_request_without_middleware_has_no_new_visitor_and_logs_once(
    settings: Any, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MIDDLEWARE = []
    for _ in range(2):
        request = client.get("/plain/").wsgi_request
        assert flags_of(request).visitor is None
    [record] = [record for record in caplog.records if record.name == "flagstaff"]
    assert record.levelno == logging.WARNING
    assert 'add "flagstaff.middleware.FlagstaffMiddleware" to MIDDLEWARE' in record.message


def test_flags_before_the_middleware_are_of_the_same_visitor() -> None:
    request = RequestFactory().get("/")
    early = flags_of(request)
    assert not early.visitor
    response: Any = FlagstaffMiddleware(text_of)(request)
    assert early.visitor == response.content.decode() == visitor_id_of(response)
    request = RequestFactory().get("/")
    request.COOKIES[NAME] = sign_id("visitor")
    assert flags_of(request).visitor == "visitor"
    response = FlagstaffMiddleware(plain)(request)
    assert response["Vary"] == "Cookie"


def test_two_middlewares_set_one_cookie(settings: Any, client: Client) -> None:
    drawn: list[str | None] = []

    def between(request: Any) -> Any:
        drawn.append(request.flags.visitor)
        return FlagstaffMiddleware(text_of)(request)

    response = served(between)
    assert [response.content.decode()] == [visitor_id_of(response)] == drawn
    settings.MIDDLEWARE = [MIDDLEWARE, MIDDLEWARE]
    response = client.get("/visitor/")
    assert response.content.decode() == visitor_id_of(response)
    # The second one may see a request that the first one has served.
    request: Any = RequestFactory().get("/")
    FlagstaffMiddleware(plain)(request)
    assert visitor_id_of(FlagstaffMiddleware(text_of)(request))


def test_request_of_rest_framework_has_the_visitor_of_djangos() -> None:
    def view(request: Any) -> HttpResponse:
        return HttpResponse(flags_of(RestRequest(request)).visitor)

    response = served(view)
    assert response.content.decode() == visitor_id_of(response)


def test_visitor_is_that_of_the_context_or_of_the_served_request() -> None:
    visitors: list[str | None] = []

    def view(request: Any) -> HttpResponse:
        # A task that the request runs in place.
        with Observation():
            visitors.extend([visitor_of(None, None, False), visitor_of(None, None, True)])
        visitors.append(visitor_of(None, None, True))
        visitors.append(visitor_of({"visitor": "given"}, request.flags.context, False))
        return text_of(request)

    response = served(view)
    assert visitors == [None, *[visitor_id_of(response)] * 3]
    assert visitor_of(None, None, True) is None
    assert visitor_of({}, {}, True) is None
    assert observed_request() is None


def test_context_has_the_visitor_id_when_it_is_known_and_its_copies_do_not() -> None:
    def view(request: Any) -> HttpResponse:
        context = request.flags.context
        visitors = [context.visitor_id, context.visitor(False), context.visitor_id]
        assert visitors == [None, None, None]
        assert context.visitor(True)
        assert context.visitor_id == context.visitor(False) == context.visitor(True)
        context["country"] = "DE"
        for copied in (pickle.loads(pickle.dumps(context)), copy.copy(context)):
            assert type(copied) is dict
            assert copied == {"country": "DE"}
        return HttpResponse()

    served(view)


DAY = 86_400


def test_drawn_ids_are_random_and_readable_when_signed() -> None:
    ids = {draw_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(visitor_id) for visitor_id in ids} == {22}
    visitor_id = ids.pop()
    signed = read_id(sign_id(visitor_id), DAY)
    assert signed is not None
    assert (signed.id, signed.is_current) == (visitor_id, True)
    assert time.time() - signed.drawn_at < 60


NOT_OURS = {
    "empty": "",
    "one colon": ":",
    "two colons": "::",
    "no signature": "abc",
    "a wrong signature": "abc:1:2",
    "not ASCII": "é" * 22,
    "half a character": "\ud800:1:2",
    "long": "a" * 100_000,
    "another key": TimestampSigner(key="another key", salt="flagstaff.visitor").sign("forged"),
    "another salt": TimestampSigner(salt="django.contrib.sessions").sign("of another cookie"),
}


@pytest.mark.parametrize("text", NOT_OURS.values(), ids=NOT_OURS)
def test_text_that_is_not_ours_is_no_id(text: str) -> None:
    assert read_id(text, DAY) is None


def test_id_is_valid_until_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    text, later = sign_id("visitor", time.time()), time.time() + DAY
    # The clocks of two machines differ.
    assert read_id(sign_id("visitor", time.time() + 5), DAY) is not None
    monkeypatch.setattr(time, "time", lambda: later - 10)
    assert read_id(text, DAY) is not None
    monkeypatch.setattr(time, "time", lambda: later + 10)
    assert read_id(text, DAY) is None


def test_id_signed_with_a_fallback_key_is_read_as_not_current(settings: Any) -> None:
    text = sign_id("visitor", 1_700_000_000)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "a new secret"
    assert read_id(text, 10**9) is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert read_id(text, 10**9) == visitor.SignedId("visitor", 1_700_000_000, is_current=False)
