"""Keeps the page of a request out of Django's cache."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest

__all__ = ["keep_out_of_cache"]


def keep_out_of_cache(request: object) -> None:
    """Makes Django's cache middleware and `@cache_page` not store the response.

    They decide by an attribute of the request. `@cache_page` sets it when its view is called, which
    can be later than this, so the request gets a class whose attribute is always False.
    """
    # Any, because the stubs deny that a class is hashable.
    original: Any = type(request)
    is_kept_out = isinstance(getattr(original, "_cache_update_cache", None), property)
    if isinstance(request, HttpRequest) and not is_kept_out:
        request.__class__ = _uncached(original)


@cache
def _uncached(original: Any) -> Any:
    """Returns a class that differs only in the attribute. Pickles and copies have the original."""
    members = {
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__reduce_ex__": lambda request, protocol: (_copy, (original, request.__getstate__())),
        "_cache_update_cache": property(lambda request: False, lambda request, value: None),
    }
    return type(original.__name__, (original,), members)


def _copy(original: Any, state: dict[str, object]) -> Any:
    request = original.__new__(original)
    request.__dict__.update(state)
    return request
