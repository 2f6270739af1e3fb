"""Middleware: `request.flags` from one snapshot, its visitor, and attribution of its writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import apps
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers, patch_vary_headers

from flagstaff._attribution import Attribution, actor_of, attributed, attribution
from flagstaff._core import Observation, awaits_poll
from flagstaff._engine.lifecycle import await_poll, wait_for_poll
from flagstaff._request.flags import PREVIEW_COOKIES, RequestFlags
from flagstaff._request.visitor import RequestVisitor, visitor_of_request
from flagstaff.extensions import OBSERVERS

__all__ = ["FlagstaffMiddleware", "RequestFlags"]

# The first status of a response that counts as a failure for rollout plans.
_SERVER_ERROR = 500


class FlagstaffMiddleware:
    """Adds `request.flags`, and records the request's user as the actor of changes.

    Put it after AuthenticationMiddleware. Reads the user only if the request writes a change or has
    the cookie of a preview, and the visitor's cookie only if a flag needs the visitor. With rollout
    plans, also counts requests. After the process was suspended, waits for the next poll, for at
    most 0.3 s.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        self._observers = tuple(OBSERVERS)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handles a request, sync or async."""
        return self._handle_async(request) if self.is_async else self._handle(request)

    def _handle(self, request: HttpRequest) -> HttpResponseBase:
        if awaits_poll():
            wait_for_poll()
        flags, visitor = _begin(request)
        preview = _check_preview(request) if _may_preview(request) else None
        with attributed(_attribution_of(request)), _observation_of(flags, preview) as observation:
            for observe in self._observers:
                observe(request, observation)
            response = cast("HttpResponseBase", self.get_response(request))
            observation.failed = response.status_code >= _SERVER_ERROR
        _finish(request, response, flags, visitor)
        return response

    async def _handle_async(self, request: HttpRequest) -> HttpResponseBase:
        if awaits_poll():
            await await_poll()
        flags, visitor = _begin(request)
        preview = await sync_to_async(_check_preview)(request) if _may_preview(request) else None
        with attributed(_attribution_of(request)), _observation_of(flags, preview) as observation:
            response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
            observation.failed = response.status_code >= _SERVER_ERROR
        _finish(request, response, flags, visitor)
        return response


def _begin(request: HttpRequest) -> tuple[RequestFlags, RequestVisitor]:
    flags = request.flags = RequestFlags(request)  # type: ignore[attr-defined]
    visitor = visitor_of_request(request)
    visitor.begin()
    return flags, visitor


def _may_preview(request: HttpRequest) -> bool:
    """Whether the browser has the cookie of a preview, of which nothing is checked yet."""
    return any(name in request.COOKIES for name in PREVIEW_COOKIES)


def _check_preview(request: HttpRequest) -> Any:
    if not apps.is_installed("django.contrib.admin"):
        return None
    # Few processes ever need it, and without the admin, the import fails.
    from flagstaff.admin.flag.preview import checked_preview  # noqa: PLC0415

    return checked_preview(request)


def _observation_of(flags: RequestFlags, preview: Any) -> Observation:
    # A feature that nobody has yet may fail, and plans of other flags would take it for theirs.
    return Observation(flags, is_counted=preview is None, preview=preview)


def _finish(
    request: HttpRequest, response: HttpResponseBase, flags: RequestFlags, visitor: RequestVisitor
) -> None:
    visitor.finish(request, response)
    if flags.preview is not None:
        # Neither the browser nor a server between may show the page when the preview has ended.
        patch_vary_headers(response, ["Cookie"])
        add_never_cache_headers(response)


def _attribution_of(request: HttpRequest) -> Attribution:
    # Called at the first write: the view is not resolved yet, and most requests never write.
    return lambda: attribution(actor_of(request), source=_source(request))


def _source(request: HttpRequest) -> str:
    match = request.resolver_match
    return "admin" if match is not None and "admin" in match.app_names else "web"
