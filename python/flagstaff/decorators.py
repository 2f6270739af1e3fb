"""A view that is there for those who have a flag."""

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
    """Show the view to those who have the flag `key`, and `otherwise` to everybody else.

    `otherwise` is a view that gets the same arguments; without it everybody else gets a 404. Works
    on functions and on methods, sync and async; `otherwise` may be of either kind. Where the
    middleware is installed, the answer is that of `request.flags`.

        @flag_required("new_checkout", otherwise=old_checkout)
        def checkout(request): ...
    """

    def decorate(view: _View) -> Any:
        return (_async if iscoroutinefunction(view) else _sync)(key, view, otherwise)

    return decorate


def _sync(
    key: str, view: Callable[..., Any], otherwise: Callable[..., Any] | None
) -> Callable[..., Any]:
    other = async_to_sync(otherwise) if iscoroutinefunction(otherwise) else otherwise

    @wraps(view)
    def shown(*args: Any, **kwargs: Any) -> Any:
        request = _request(args)
        has_flag = evaluator_of(request).flag_enabled(key, getattr(request, "user", None))
        return _choose(key, has_flag, view, other)(*args, **kwargs)

    return shown


def _async(
    key: str, view: Callable[..., Any], otherwise: Callable[..., Any] | None
) -> Callable[..., Any]:
    other = otherwise
    if otherwise is not None and not iscoroutinefunction(otherwise):
        # A sync view may block and use the ORM, so it runs in a thread, as Django runs it.
        other = sync_to_async(otherwise)

    @wraps(view)
    async def shown(*args: Any, **kwargs: Any) -> Any:
        request = _request(args)
        moment = evaluator_of(request, pinned=True)
        has_flag = moment.flag_enabled(key, await user_of(request, key, moment))
        return await _choose(key, has_flag, view, other)(*args, **kwargs)

    return shown


def _request(args: tuple[Any, ...]) -> HttpRequest:
    """The request among the arguments of a function's view or a method's."""
    for argument in args[:2]:
        # Also one that wraps Django's without being one, such as Django REST framework's.
        if isinstance(argument, HttpRequest) or hasattr(argument, "META"):
            return cast("HttpRequest", argument)
    raise TypeError("flag_required decorates views, whose first argument is the request")


def _choose(
    key: str,
    has_flag: bool,  # noqa: FBT001
    view: Callable[..., Any],
    otherwise: Callable[..., Any] | None,
) -> Callable[..., Any]:
    if has_flag:
        return view
    if otherwise is None:
        raise Http404(f"the flag {key} is not on for this user")
    return otherwise
