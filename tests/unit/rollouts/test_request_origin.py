"""The network of a request's client, and when its body is read."""

import asyncio
import logging
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from pytest_django import Settings

from flagstaff import _log
from flagstaff._request.flags import RequestFlags
from flagstaff.rollouts.requests import origin_of


def client(request: Any) -> Any:
    """Returns, or raises, what the test has set."""
    if isinstance(request.address, Exception):
        raise request.address
    return request.address


@pytest.fixture(autouse=True)
def by_function(settings: Settings) -> Iterator[None]:
    settings.FLAGSTAFF = {"CLIENT_ADDRESS": f"{__name__}.client"}
    yield
    _log.after_fork()


def network(address: object) -> bytes:
    request: Any = RequestFactory().get("/")
    request.address = address
    network, drawn_at = origin_of(RequestFlags(request))
    assert network is not None
    assert drawn_at is None
    return network


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.255", "192.0.3.1"),
        ("192.0.2.1", "::ffff:192.0.2.9", "::ffff:192.0.3.1"),
        ("192.0.2.1", "2002:c000:209::1", "2002:c000:301::1"),
        ("192.0.2.45", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136:e378::1"),
        ("2001:db8:1::1", ip_address("2001:db8:1:ffff::9"), "2001:db8:2::1"),
        ("fe80::1%eth0", "fe80::2%eth1", "192.0.2.1"),
    ],
)
def test_network_is_an_ipv4_24_or_an_ipv6_48(address: str, same: object, other: str) -> None:
    assert network(address) == network(same) != network(other)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (None, None),
        ("10.0.0.1, 192.0.2.1", "returned a text that is not an IP address"),
        ("", "returned a text that is not an IP address"),
        (7, "returned a int, not an IP address"),
        (ValueError("10.0.0.1"), "raised ValueError in "),
    ],
    ids=str,
)
def test_clients_without_an_address_share_a_network(
    address: object, problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "flagstaff"):
        assert network(address) == network(None)
        network(address)
    assert len(caplog.records) == (problem is not None)
    assert (problem or "") in caplog.text
    assert "10.0.0.1" not in caplog.text


def test_network_is_hashed_with_the_secret_key(settings: Settings) -> None:
    before = network("192.0.2.1")
    settings.SECRET_KEY = "another"
    assert network("192.0.2.1") != before


def test_request_without_the_setting_has_no_network(settings: Settings) -> None:
    settings.FLAGSTAFF = {}
    assert origin_of(RequestFlags(RequestFactory().get("/"))) == (None, None)


#: What happens in a request.
order: list[str] = []


def noting(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        order.append("middleware")
        return get_response(request)

    return middleware


def test_asgi_reads_the_body_before_the_middleware(settings: Settings) -> None:
    """So the time in which it arrives is not measured."""
    order.clear()
    pages = [path("", lambda _request: HttpResponse())]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": pages})
    settings.MIDDLEWARE = [f"{__name__}.noting", "flagstaff.middleware.FlagstaffMiddleware"]

    async def receive() -> dict[str, object]:
        if len(order) >= 3:
            await asyncio.Event().wait()
        order.append("body")
        return {"type": "http.request", "body": b"name=value", "more_body": len(order) < 3}

    async def send(_: object) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    asyncio.run(ASGIHandler()(scope, receive, send))
    assert order == ["body", "body", "body", "middleware"]
