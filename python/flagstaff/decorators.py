"""A view that is there for those who have a flag."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar

from django.http import Http404, HttpRequest

from flagstaff import _core

__all__ = ["flag_required"]

_View = TypeVar("_View", bound=Callable[..., Any])


def flag_required(
    key: str, otherwise: Callable[..., Any] | None = None
) -> Callable[[_View], _View]:
    """Show the view to those who have the flag `key`, and `otherwise` to everybody else.

    `otherwise` is a view that gets the same arguments; without it everybody else gets a 404. Works
    on functions and on methods, sync and async; an async view's `otherwise` may be of either kind.

        @flag_required("new_checkout", otherwise=old_checkout)
        def checkout(request): ...
    """

    def decorate(view: _View) -> Any:
        @wraps(view)
        def shown(*args: Any, **kwargs: Any) -> Any:
            request = _request(args)
            has_flag = _core.flag_enabled(key, getattr(request, "user", None))
            return _choose(key, has_flag, view, otherwise)(*args, **kwargs)

        @wraps(view)
        async def shown_async(*args: Any, **kwargs: Any) -> Any:
            request = _request(args)
            has_flag = _core.flag_enabled(key, await _user(key, request))
            answer = _choose(key, has_flag, view, otherwise)(*args, **kwargs)
            return await answer if isawaitable(answer) else answer

        return shown_async if iscoroutinefunction(view) else shown

    return decorate


async def _user(key: str, request: HttpRequest) -> Any:
    """The user, read only where the answer depends on it; a lazy one cannot be in an event loop."""
    if not hasattr(request, "auser") or not _core.depends_on_user(key):
        return None
    return await request.auser()


def _request(args: tuple[Any, ...]) -> HttpRequest:
    """The request among the arguments of a function's view or a method's."""
    for argument in args[:2]:
        if isinstance(argument, HttpRequest):
            return argument
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
