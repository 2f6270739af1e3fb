"""The async twins of functions, which Django names with an "a" before: `acreate`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def async_twin(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, Coroutine[Any, Any, _Result]]:
    """Returns the function for async code: it runs in the thread of Django's ORM.

    `acting_as` applies there, too. As all of Django's transactions, each call is one of its own.
    """

    @wraps(function)
    async def twin(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return await sync_to_async(function)(*args, **kwargs)

    twin.__name__ = twin.__qualname__ = f"a{function.__name__}"
    return twin
