"""A decorator that makes a view depend on a flag."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeAlias, TypeGuard, TypeVar, cast

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from flagstaff._request.flags import (
    ContextSource,
    aresolved_context,
    debug_message,
    evaluator_of,
    resolved_context,
    snapshot_of,
    user_of,
)

__all__ = ["flag_required"]

# A sync or async view that takes the place of another one.
OtherView: TypeAlias = Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]]

# Views of other frameworks may return objects that are not responses.
_View = TypeVar("_View", bound=Callable[..., object])
_Result = TypeVar("_Result")
_AsyncView: TypeAlias = Callable[..., Awaitable[object]]


def flag_required(
    key: str, otherwise: OtherView | None = None, *, context: ContextSource = None
) -> Callable[[_View], _View]:
    """Shows the view to users who have the flag `key`, and `otherwise` to all others.

    `otherwise` is a view that gets the same arguments; without it, other users get a 404. Works
    on functions and methods, sync and async; `otherwise` may be sync or async too. With the
    middleware, it evaluates `request.flags`. Rules may read `context`: a mapping, or a function of
    the request that returns one.

        @flag_required("new_checkout", otherwise=old_checkout)
        def checkout(request): ...
    """
    if not isinstance(key, str):
        raise TypeError(
            f"flag_required needs the key of a flag, not a {type(key).__name__}: write "
            '@flag_required("new_checkout")'
        )

    def decorator(view: _View) -> _View:
        wrapper = (
            _async(key, view, otherwise, context)
            if _is_async(view)
            else _sync(key, view, otherwise, context)
        )
        return cast("_View", wrapper)

    return decorator


def _sync(
    key: str, view: Callable[..., object], otherwise: OtherView | None, context: ContextSource
) -> Callable[..., object]:
    other = async_to_sync(otherwise) if _is_async(otherwise) else otherwise

    @wraps(view)
    def wrapper(*args: object, **kwargs: object) -> object:
        request = _request(args)
        has_flag = evaluator_of(request).flag_enabled(
            key, getattr(request, "user", None), context=resolved_context(context, request)
        )
        return _choose(key, has_flag, view, other)(*args, **kwargs)

    return wrapper


def _async(
    key: str, view: _AsyncView, otherwise: OtherView | None, context: ContextSource
) -> _AsyncView:
    other = _as_async(otherwise)

    @wraps(view)
    async def wrapper(*args: object, **kwargs: object) -> object:
        request = _request(args)
        snapshot, resolved = snapshot_of(request), await aresolved_context(context, request)
        user = await user_of(request, key, snapshot, resolved)
        has_flag = snapshot.flag_enabled(key, user, context=resolved)
        return await _choose(key, has_flag, view, other)(*args, **kwargs)

    return wrapper


def _as_async(view: OtherView | None) -> _AsyncView | None:
    if view is None or _is_async(view):
        return view
    # A sync view may block and use the ORM: it runs in a thread, as in Django.
    return sync_to_async(view)


def _is_async(view: object) -> TypeGuard[_AsyncView]:
    return iscoroutinefunction(view)


def _request(args: tuple[object, ...]) -> HttpRequest:
    """The request: the first argument of a function, the second of a method."""
    for argument in args[:2]:
        # Django REST framework's request is not an HttpRequest; it wraps one.
        if isinstance(argument, HttpRequest) or hasattr(argument, "META"):
            return cast("HttpRequest", argument)
    raise TypeError("flag_required decorates a view, whose first argument must be the request")


def _choose(
    key: str,
    has_flag: bool,  # noqa: FBT001
    view: Callable[..., _Result],
    otherwise: Callable[..., _Result] | None,
) -> Callable[..., _Result]:
    if has_flag:
        return view
    if otherwise is None:
        message = debug_message(key)
        raise Http404(message) if message else Http404
    return otherwise
