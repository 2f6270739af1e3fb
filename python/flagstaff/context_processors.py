"""For templates that ask in expressions: `{% if flags.new_checkout and cart %}`."""

from __future__ import annotations

from django.http import HttpRequest

from flagstaff._engine.request_flags import RequestFlags, flags_of

__all__ = ["flags"]


def flags(request: HttpRequest) -> dict[str, RequestFlags]:
    """The flags of the request's user as `flags`, with and without the middleware."""
    return {"flags": flags_of(request)}
