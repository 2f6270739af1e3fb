"""Statuses, headers, limits and counts of the protocol."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from flagstaff import _log, flag_enabled
from flagstaff._engine import direct
from flagstaff._engine.direct import NotReadyError
from flagstaff._workers.usage import usage
from flagstaff.contrib.ofrep.views import evaluate_all, evaluate_one
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.database.contrib.ofrep.conftest import Configure
from tests.support import ofrep
from tests.support.fixtures import COMMITTED
from tests.support.ofrep import BEARER, LIMIT, URL, client_flag, every, post, result_of, url_of
from tests.support.plans import KEY, counted, start_run
from tests.support.sql import rows

VARY = "Cookie, Authorization, X-API-Key"


@pytest.fixture
def flag() -> FeatureFlag:
    return client_flag(rollout_percent=50)


def etag_of(client: Client) -> str:
    etag = post(client, URL)["ETag"]
    assert isinstance(etag, str)
    return etag


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize("etag_sent", ["{}", "W/{}", '"other", {}', '"other",W/{} , "third"'])
def test_body_that_the_client_has_is_not_sent_again(browser: Client, etag_sent: str) -> None:
    etag = etag_of(browser)
    response = post(browser, URL, **{"If-None-Match": etag_sent.format(etag)})
    assert (response.status_code, response.content) == (304, b"")
    assert [response[name] for name in ("ETag", "Vary", "Cache-Control")] == [etag, VARY, "private"]


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize("etag_sent", ["*", '"other"', "", "{", '"{}"', 'W/"'])
def test_other_etag_gets_the_body(browser: Client, etag_sent: str) -> None:
    response = post(browser, URL, **{"If-None-Match": etag_sent})
    assert (response.status_code, response["ETag"]) == (200, etag_of(browser))


def test_etag_differs_when_a_result_does(browser: Client, flag: FeatureFlag, alice: User) -> None:
    flag.allowed_users.add(alice)
    anonymous = etag_of(browser)
    browser.force_login(alice)
    assert post(browser, URL, **{"If-None-Match": anonymous}).status_code == 200
    before = etag_of(browser)
    # The configuration differs, the body does not.
    FeatureFlag.objects.create(key="hidden")
    assert post(browser, URL, **{"If-None-Match": before}).status_code == 304


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        (URL, {}, 200),
        (URL, BEARER, 200),
        (url_of("beta"), {}, 200),
        (url_of("nothing"), {}, 404),
        (URL, {"X-API-Key": "wrong"}, 401),
        (URL, {"Content-Type": "text/plain"}, 415),
    ],
)
def test_no_response_is_for_a_shared_cache(
    browser: Client, url: str, headers: dict[str, str], status: int
) -> None:
    response = post(browser, url, **headers)
    assert response.status_code == status
    assert (response["Vary"], response["Cache-Control"]) == (VARY, "private")
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("url", [URL, url_of("beta")])
@pytest.mark.parametrize("method", ["get", "head", "options", "put", "patch", "delete"])
def test_method_other_than_post_is_not_allowed(browser: Client, method: str, url: str) -> None:
    response = getattr(browser, method)(url)
    assert (response.status_code, response["Allow"]) == (405, "POST")
    if method != "head":
        assert response.json()["errorCode"] == "GENERAL"


WRONG_BODIES = {
    b" ": "PARSE_ERROR",
    b"{": "PARSE_ERROR",
    b'{"context": {}} x': "PARSE_ERROR",
    b'{"context": ' + b"[" * 30_000 + b"]" * 30_000 + b"}": "PARSE_ERROR",
    b'{"context": {"number": ' + b"9" * 5_000 + b"}}": "PARSE_ERROR",
    b'{"context": {"text": "\xff"}}': "PARSE_ERROR",
    b"null": "INVALID_CONTEXT",
    b"[]": "INVALID_CONTEXT",
    b"{}": "INVALID_CONTEXT",
    b'{"context": null}': "INVALID_CONTEXT",
    b'{"context": []}': "INVALID_CONTEXT",
}


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize("number", range(len(WRONG_BODIES)))
def test_wrong_body_is_refused(browser: Client, service: Client, number: int) -> None:
    body, code = [*WRONG_BODIES.items()][number]
    for client in (browser, service):
        for url, key in ((URL, {}), (url_of("beta"), {"key": "beta"})):
            response = client.post(url, body, "application/json")
            answer = response.json()
            assert response.status_code == 400
            assert (answer.pop("errorCode"), bool(answer.pop("errorDetails"))) == (code, True)
            assert answer == key


@pytest.mark.parametrize("targeting_key", [7, True, ["7"], {"id": 7}, "\ud800", "7\0"])
def test_targeting_key_must_be_a_text_that_can_be_stored(
    service: Client, targeting_key: object
) -> None:
    response = post(service, URL, {"targetingKey": targeting_key})
    assert (response.status_code, response.json()["errorCode"]) == (400, "INVALID_CONTEXT")


async def asynchronous(request: HttpRequest) -> float | None:
    return 60


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    _log.after_fork()
    yield caplog
    _log.after_fork()


@pytest.mark.usefixtures("flag")
def test_limit_is_that_of_the_function(browser: Client, configure: Configure) -> None:
    configure(LIMIT=LIMIT)
    for url, key in ((URL, {}), (url_of("beta"), {"key": "beta"})):
        response = post(browser, url, **{"X-Case": "slow", "X-API-Key": "wrong"})
        assert (response.status_code, response["Retry-After"]) == (429, "3")
        error = {"errorCode": "GENERAL", "errorDetails": "too many requests"}
        assert response.json() == {**key, **error}
        assert post(browser, url, **{"X-Case": "for ever"})["Retry-After"] == "86400"
        for case in ("none", "zero"):
            assert post(browser, url, **{"X-Case": case}).status_code == 200


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize("case", ["failing", "asynchronous", "text"])
def test_limit_that_fails_is_logged_once_and_limits_nothing(
    browser: Client, configure: Configure, logged: pytest.LogCaptureFixture, case: str
) -> None:
    configure(LIMIT=f"{__name__}.asynchronous" if case == "asynchronous" else LIMIT)
    for _ in range(2):
        assert post(browser, URL, **{"X-Case": case}).status_code == 200
    [message] = [text for text in logged.messages if "OFREP_LIMIT" in text]
    assert message.endswith("the request is not limited")


def test_process_that_has_loaded_nothing_is_unavailable(
    browser: Client, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_queries: object) -> None:
        raise NotReadyError

    monkeypatch.setattr(direct, "select", fail)
    for client in (browser, service):
        for url in (URL, url_of("beta")):
            response = post(client, url)
            assert response.status_code == 503
            assert response.json()["errorCode"] == "PROVIDER_NOT_READY"


@COMMITTED
def test_requests_are_counted_by_kind(browser: Client, service: Client) -> None:
    # Keys that no other test uses: the process counts them until its end.
    flags = {"of_browsers": True, "of_services": False}
    for key, client_side in flags.items():
        FeatureFlag.objects.create(key=key, enabled=True, client_side=client_side)
    with live_engine():
        for key in (*flags, "unknown_to_browsers"):
            result_of(browser, key)
        for key in ("of_services", "unknown_to_services"):
            result_of(service, key)
        etag = etag_of(browser)
    counted = {(hour.key, hour.result): hour.count for hour in usage().hours}
    expected = {
        ("of_browsers", "false"): 1,
        ("of_services", "false"): 1,
        ("unknown_to_services", "unknown"): 1,
    }
    assert expected.items() <= counted.items()
    assert "unknown_to_browsers" not in {key for key, _ in counted}
    to_browsers = {key for key, result in counted if result == "browsers"}
    # Other tests of the process may have served flags of their own.
    assert "of_browsers" in to_browsers
    assert "of_services" not in to_browsers
    rows("DELETE FROM flagstaff_usage")
    with live_engine():
        assert post(browser, URL, **{"If-None-Match": etag}).status_code == 304
        every(service)
    served = {(hour.key, hour.result) for hour in usage().hours}
    assert {("of_browsers", "browsers"), ("of_services", "bulk")} <= served
    assert ("of_services", "browsers") not in served
    rows("DELETE FROM flagstaff_usage")


def test_body_of_64_kib_is_accepted_and_a_larger_one_is_not(service: Client) -> None:
    def padded(size: int) -> str:
        empty = len(json.dumps({"context": {"pad": ""}}))
        return json.dumps({"context": {"pad": "x" * (size - empty)}})

    for size, status in ((65_536, 200), (65_537, 413)):
        assert service.post(URL, padded(size), "application/json").status_code == status


def test_views_open_no_transaction() -> None:
    for view in (evaluate_all, evaluate_one):
        assert view._non_atomic_requests == {"default"}  # type: ignore[attr-defined]


# Rollout plans measure requests in which a feature runs, not those that only read flags.


@COMMITTED
@pytest.mark.usefixtures("configure")
def test_rollout_plan_does_not_measure_requests_of_ofrep(
    client: Client, alice: User, settings: Settings
) -> None:
    def query(statement: str, *parameters: Any) -> Any:
        return rows(statement, *parameters)[0]

    page = path("page", lambda request: HttpResponse(str(flag_enabled(KEY, request.user))))
    pages = [*ofrep.urlpatterns, page]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": pages})
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    client_flag(KEY, rollout_percent=33)
    client.force_login(alice)
    run = start_run(query, limits="{}")
    with live_engine():
        result_of(client, KEY)
        result_of(client, KEY, {"targetingKey": "7"}, **BEARER)
    assert counted(query, run, "r") == (0, 0)
    with live_engine():
        client.get("/page")
    assert sum(counted(query, run, "r")) == 1
