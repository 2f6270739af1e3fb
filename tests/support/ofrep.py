"""Requests of browsers and services with the protocol OFREP."""

from collections.abc import Callable
from math import inf
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from flagstaff.contrib.ofrep.settings import hash_of
from flagstaff.models import FeatureFlag

urlpatterns = [path("", include("flagstaff.contrib.ofrep.urls"))]

URL = "/ofrep/v1/evaluate/flags"
#: The key of a service, and the settings that know it.
KEY = "ofrep_of-the-tests"
LIMIT = f"{__name__}.seconds_of_case"
KEYS = {"OFREP_KEYS": {"billing": hash_of(KEY)}}
BEARER = {"Authorization": f"Bearer {KEY}"}
NOT_FOUND = {
    "errorCode": "FLAG_NOT_FOUND",
    "errorDetails": "there is no flag, value or experiment with this key",
}


def seconds_of_case(request: HttpRequest) -> Any:
    """The seconds to wait that a header of the request names. Fails for another header."""
    cases = {"slow": 2.1, "none": None, "zero": 0.0, "for ever": inf, "text": "60"}
    return cases[request.headers["X-Case"]]


def with_country(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """A middleware that knows the country of the request."""

    def middleware(request: Any) -> HttpResponse:
        request.flags.context["country"] = "FR"
        return get_response(request)

    return middleware


def client_flag(key: str = "beta", *conditions: Any, **fields: Any) -> FeatureFlag:
    """Creates a flag that browsers get, for users of these conditions if there are any."""
    rules = [{"conditions": list(conditions)}] if conditions else []
    row = {"key": key, "enabled": True, "client_side": True, "rules": rules} | fields
    return FeatureFlag.objects.create(**row)


def url_of(key: str) -> str:
    return f"{URL}/{quote(key, safe='')}"


def post(client: Client, url: str, context: Any = None, **headers: str) -> Any:
    """Sends a context as the SDKs do, and returns the response."""
    body = {"context": context or {}}
    return client.post(url, body, "application/json", headers=headers)


def result_of(client: Client, key: str, context: Any = None, **headers: str) -> Any:
    """Returns the body of the response for one key."""
    return post(client, url_of(key), context, **headers).json()


def every(client: Client, context: Any = None, **headers: str) -> dict[str, Any]:
    """Returns the values of all flags and values by key."""
    response = post(client, URL, context, **headers)
    assert response.status_code == 200, response.content
    return {item["key"]: item.get("value") for item in response.json()["flags"]}
