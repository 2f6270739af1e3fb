"""The time in which the body of a request arrives belongs to the client and is not measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

from django.http import HttpRequest

from flagstaff._core import Observation

_T = TypeVar("_T")


def exclude_body(request: HttpRequest, observation: Observation) -> None:
    """Leaves the time in which the view waits for the body out of what is measured.

    Does nothing without a body, or if Django has read the body before the request, as with ASGI.
    """
    environ = getattr(request, "environ", None)
    if environ is None or not (_has_length(environ) or "HTTP_TRANSFER_ENCODING" in environ):
        return
    # Django reads from the one, and views that parse the body themselves from the other.
    stream = _Body(request._stream, observation)  # noqa: SLF001 (Django has no other place)
    request._stream = cast("BinaryIO", stream)  # noqa: SLF001
    environ["wsgi.input"] = _Body(environ["wsgi.input"], observation)


def _has_length(environ: dict[str, Any]) -> bool:
    return environ.get("CONTENT_LENGTH") not in (None, "", "0")


class _Body:
    """A stream of the server that measures how long its reader waits."""

    def __init__(self, stream: BinaryIO, observation: Observation) -> None:
        self._stream, self._observation = stream, observation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def read(self, *args: int) -> bytes:
        return self._wait(self._stream.read, *args)

    def readline(self, *args: int) -> bytes:
        return self._wait(self._stream.readline, *args)

    def readlines(self, *args: int) -> list[bytes]:
        return self._wait(self._stream.readlines, *args)

    def _wait(self, read: Callable[..., _T], *args: int) -> _T:
        began = time.perf_counter()
        try:
            return read(*args)
        except Exception:
            # The client has gone, or has sent no valid body. The error is not that of the view.
            self._observation.cancel()
            raise
        finally:
            self._observation.exclude(time.perf_counter() - began)
