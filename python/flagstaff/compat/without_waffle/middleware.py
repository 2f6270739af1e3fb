"""The middleware that sets the cookies of waffle."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from flagstaff.compat.django_settings import waffle_setting

__all__ = ["WaffleMiddleware"]


class WaffleMiddleware(MiddlewareMixin):
    """Stores the results of the request that a browser keeps: random ones, and those of a test."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Sets a cookie for each such result."""
        for name, (active, rollout) in getattr(request, "waffles", {}).items():
            response.set_cookie(
                waffle_setting("COOKIE") % name,
                str(active),
                # In rollout mode, a browser without the flag tries again in its next session.
                max_age=None if rollout and not active else waffle_setting("MAX_AGE"),
                secure=waffle_setting("SECURE"),
            )
        for name, active in getattr(request, "waffle_tests", {}).items():
            response.set_cookie(waffle_setting("TEST_COOKIE") % name, str(active))
        return response
