"""A context processor for flags in expressions: `{% if flags.new_checkout and cart %}`."""

from __future__ import annotations

from django.http import HttpRequest

from flagstaff._request.flags import RequestFlags, flags_of

__all__ = ["flags"]


def flags(request: HttpRequest) -> dict[str, RequestFlags]:
    """Adds `flags`, the flags of the request's user. Works with and without the middleware."""
    return {"flags": flags_of(request)}
