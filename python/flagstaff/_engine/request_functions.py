"""Runs the functions of a request that settings name, such as IS_CRAWLER."""

from __future__ import annotations

from inspect import iscoroutine
from typing import Any

from django.utils.module_loading import import_string

from flagstaff._engine.log_once import place_of


class RequestFunctionError(Exception):
    """The function failed, or returned something else. Says so without data of the request."""


def result_of(path: str, request: object, types: tuple[type, ...], expected: str) -> Any:
    """Returns what the function at the path returns for the request, which is of these types.

    Raises RequestFunctionError.
    """
    try:
        found = import_string(path)(request)
    except Exception as error:
        if isinstance(error, RecursionError | MemoryError):
            raise
        raise RequestFunctionError(f"raised {place_of(error)}") from error
    if iscoroutine(found):
        found.close()
    if not isinstance(found, types):
        raise RequestFunctionError(f"returned a {type(found).__name__}, not {expected}")
    return found
