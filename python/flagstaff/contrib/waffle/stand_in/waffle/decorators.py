from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import Http404, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse

from waffle import flag_is_active, switch_is_active

_View = TypeVar("_View", bound=Callable[..., Any])
_Other = Callable[..., Any] | str | None


def waffle_flag(flag_name: str, redirect_to: _Other = None) -> Callable[[_View], _View]:
    """Shows the view to requests that have the flag, and to those that do not for "!name".

    Others get a redirect to `redirect_to`, a view or a URL name, with the arguments of the view.
    Without it, or if there is no such URL, they get a 404.
    """
    return _required(flag_is_active, flag_name, redirect_to)


def waffle_switch(switch_name: str, redirect_to: _Other = None) -> Callable[[_View], _View]:
    """Shows the view while the switch is on. The arguments are those of `waffle_flag`."""
    return _required(lambda _request, name: switch_is_active(name), switch_name, redirect_to)


def is_allowed(is_active: Callable[[str], Any], name: str) -> bool:
    """Returns whether a view is shown that depends on a name, or on its opposite: "!name"."""
    return bool(is_active(name.removeprefix("!"))) is not name.startswith("!")


def _required(
    is_active: Callable[[Any, str], Any], name: str, redirect_to: _Other
) -> Callable[[_View], _View]:
    def decorator(view: _View) -> _View:
        @wraps(view)
        def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
            if is_allowed(lambda name: is_active(request, name), name):
                return view(request, *args, **kwargs)
            response = get_response_to_redirect(redirect_to, *args, **kwargs)
            if response is None:
                raise Http404
            return response

        return cast("_View", wrapper)

    return decorator


def get_response_to_redirect(view: _Other, *args: Any, **kwargs: Any) -> Any:
    """Returns the redirect to a view or a URL name; None if there is no such URL."""
    try:
        return HttpResponseRedirect(reverse(view, args=args, kwargs=kwargs)) if view else None
    except NoReverseMatch:
        return None
