from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from waffle.utils import get_setting


class WaffleMiddleware(MiddlewareMixin):
    """Stores what a browser keeps of a request: kept results, and those of a test."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Sets a cookie for each such result."""
        for name, (active, rollout) in getattr(request, "waffles", {}).items():
            response.set_cookie(
                get_setting("COOKIE") % name,
                str(active),
                # In rollout mode, a browser without the flag tries again in its next session.
                max_age=None if rollout and not active else get_setting("MAX_AGE"),
                secure=get_setting("SECURE"),
            )
        for name, active in getattr(request, "waffle_tests", {}).items():
            response.set_cookie(get_setting("TEST_COOKIE") % name, str(active))
        return response
