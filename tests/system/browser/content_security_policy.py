"""A middleware that allows scripts and styles of the own site only, none of them inline."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'"


def strict_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Adds the header to every page."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response["Content-Security-Policy"] = _POLICY
        return response

    return middleware
