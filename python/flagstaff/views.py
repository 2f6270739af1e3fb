"""A view that sends flags to browsers."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_cookie

from flagstaff._request.flags import flags_of

__all__ = ["client_flags"]


@require_safe
@never_cache
@vary_on_cookie
def client_flags(request: HttpRequest) -> JsonResponse:
    """Returns the flags with `client_side` set, evaluated for the request's user, as JSON.

        {"flags": {"new_checkout": true}}

    Makes no query. Include `flagstaff.urls` to serve it.
    """
    flags = flags_of(request)
    return JsonResponse({"flags": flags.client_side()})
