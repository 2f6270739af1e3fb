"""The middleware that sets the cookies of waffle."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from flagstaff.compat.settings import setting_of_waffle

__all__ = ["WaffleMiddleware"]


class WaffleMiddleware(MiddlewareMixin):
    """Stores the results of the request that a browser keeps: random ones, and those of a test."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Sets a cookie for each such result."""
        for name, (active, rollout) in getattr(request, "waffles", {}).items():
            response.set_cookie(
                setting_of_waffle("COOKIE") % name,
                str(active),
                # In rollout mode, a browser without the flag tries again in its next session.
                max_age=None if rollout and not active else setting_of_waffle("MAX_AGE"),
                secure=setting_of_waffle("SECURE"),
            )
        for name, active in getattr(request, "waffle_tests", {}).items():
            response.set_cookie(setting_of_waffle("TEST_COOKIE") % name, str(active))
        return response
