"""A decorator that makes a view depend on a flag."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import Http404, HttpRequest

from flagstaff._engine.request_flags import evaluator_of, user_of

__all__ = ["flag_required"]

_View = TypeVar("_View", bound=Callable[..., Any])


def flag_required(
    key: str, otherwise: Callable[..., Any] | None = None
) -> Callable[[_View], _View]:
    """Shows the view to users who have the flag `key`, and `otherwise` to all others.

    `otherwise` is a view that gets the same arguments; without it, other users get a 404. Works
    on functions and methods, sync and async; `otherwise` may be sync or async too. With the
    middleware, it evaluates `request.flags`.

        @flag_required("new_checkout", otherwise=old_checkout)
        def checkout(request): ...
    """

    def decorator(view: _View) -> Any:
        return (_async if iscoroutinefunction(view) else _sync)(key, view, otherwise)

    return decorator


def _sync(
    key: str, view: Callable[..., Any], otherwise: Callable[..., Any] | None
) -> Callable[..., Any]:
    other = async_to_sync(otherwise) if iscoroutinefunction(otherwise) else otherwise

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        request = _request(args)
        has_flag = evaluator_of(request).flag_enabled(key, getattr(request, "user", None))
        return _choose(key, has_flag, view, other)(*args, **kwargs)

    return wrapper


def _async(
    key: str, view: Callable[..., Any], otherwise: Callable[..., Any] | None
) -> Callable[..., Any]:
    other = otherwise
    if otherwise is not None and not iscoroutinefunction(otherwise):
        # A sync view may block and use the ORM: it runs in a thread, as in Django.
        other = sync_to_async(otherwise)

    @wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        request = _request(args)
        evaluator = evaluator_of(request, snapshot=True)
        has_flag = evaluator.flag_enabled(key, await user_of(request, key, evaluator))
        return await _choose(key, has_flag, view, other)(*args, **kwargs)

    return wrapper


def _request(args: tuple[Any, ...]) -> HttpRequest:
    """The request: the first argument of a function, the second of a method."""
    for argument in args[:2]:
        # Django REST framework's request is no HttpRequest; it wraps one.
        if isinstance(argument, HttpRequest) or hasattr(argument, "META"):
            return cast("HttpRequest", argument)
    raise TypeError("flag_required decorates a view, whose first argument must be the request")


def _choose(
    key: str,
    has_flag: bool,  # noqa: FBT001
    view: Callable[..., Any],
    otherwise: Callable[..., Any] | None,
) -> Callable[..., Any]:
    if has_flag:
        return view
    if otherwise is None:
        raise Http404(f"flag {key} is off for this user")
    return otherwise
