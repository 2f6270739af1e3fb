"""A new and an old view, sync and async, and requests for them."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from flagstaff._request.flags import RequestFlags
from flagstaff._request.visitor import read_id
from flagstaff.middleware import FlagstaffMiddleware

__all__ = [
    "content_of",
    "flagged_request_of",
    "in_request",
    "lazy_user",
    "new",
    "new_async",
    "old",
    "old_async",
    "rendered",
    "request_of",
    "visitor_id_of",
    "with_flags",
]


def new(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"new {number}")


async def new_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"new {number}")


def old(request: HttpRequest, number: int = 0) -> HttpResponse:
    # Queries: Django forbids that in the thread of an event loop.
    return HttpResponse(f"old {number} of {User.objects.count()}")


async def old_async(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(f"old {number} of {await User.objects.acount()}")


def request_of(user: Any, method: str = "get") -> Any:
    """A request of a user; of one without a user, if it is None."""
    request: Any = getattr(RequestFactory(), method)("/")
    if user is not None:
        request.user = user
    return request


def flagged_request_of(user: Any) -> Any:
    """A request of a user with its flags, as the middleware gives it to a view."""
    request = request_of(user)
    request.flags = RequestFlags(request)
    return request


def lazy_user(user: object, reads: list[object]) -> Any:
    """A lazy user like that of a request; `reads` records when it is read from the session."""

    def read() -> object:
        reads.append(user)
        return user

    return SimpleLazyObject(read)


def with_flags(request: Any) -> Any:
    """A request that has passed the middleware."""
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    return request


def in_request(request: Any, work: Callable[[Any], Any]) -> Any:
    """Returns the result of work that a view does while the middleware handles its request."""
    results = []

    def view(request: HttpRequest) -> HttpResponse:
        results.append(work(request))
        return HttpResponse()

    FlagstaffMiddleware(view)(request)
    return results[0]


def visitor_id_of(response: Any) -> str:
    """Returns the id of the visitor in the cookie that a response sets."""
    signed = read_id(response.cookies["flagstaff_visitor"].value, 365 * 86_400)
    assert signed
    return signed.id


def rendered(request: Any, text: str, **context: object) -> str:
    """Renders a template with the request."""
    return str(engines["django"].from_string(text).render(context, request))


def content_of(view: Any, *args: Any, **kwargs: Any) -> str:
    """Calls a sync or async view like Django's handler, and returns its content."""
    call = async_to_sync(view) if iscoroutinefunction(view) else view
    return str(call(*args, **kwargs).content.decode())
