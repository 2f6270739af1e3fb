"""Runs the functions of a request that settings name, such as CLIENT_ADDRESS."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from django.utils.module_loading import import_string

from flagstaff._log import place_of


class RequestFunctionError(Exception):
    """The function failed, or returned something else. Says so without data of the request."""


def result_of(
    function: str | Callable[[Any], object],
    request: object,
    types: tuple[type, ...],
    expected: str,
) -> Any:
    """Returns what the function, or the one at a path, returns for the request: of these types.

    Raises RequestFunctionError.
    """
    try:
        called = import_string(function) if isinstance(function, str) else function
        returned = called(request)
    except Exception as error:
        if isinstance(error, RecursionError | MemoryError):
            raise
        raise RequestFunctionError(f"raised {place_of(error)}") from error
    if iscoroutine(returned):
        returned.close()
    if not isinstance(returned, types):
        raise RequestFunctionError(f"returned a {type(returned).__name__}, not {expected}")
    return returned
