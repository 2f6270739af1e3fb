"""What is measured of a request: not the time of its body, and from which network it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, BinaryIO, TypeVar, cast

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from flagstaff._core import Observation
from flagstaff._log import log_once
from flagstaff._request.functions import RequestFunctionError, result_of
from flagstaff._request.visitor import visitor_of_request
from flagstaff.conf import request_function

CLIENT_ADDRESS = request_function(
    "A function that returns the client's address",
    "shop.network.client",
    "an IP address",
    "CLIENT_ADDRESS",
)
SETTINGS = (CLIENT_ADDRESS,)

# The time in which the body arrives belongs to the client and is not measured.

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


# The network of the client, and how old the id of the visitor is.

# The bytes of an address that name its network: an IPv4 /24 and an IPv6 /48. One person usually has
# a whole /48.
_IPV4_BYTES, _IPV6_BYTES = 3, 6
_UNKNOWN = b""
# What the function may return; None for a client without an address.
_ADDRESSES = (str, IPv4Address, IPv6Address, type(None))
_SALT = "flagstaff.network"


def origin_of(flags: Any) -> tuple[bytes | None, int | None]:
    """Returns the hash of the client's network, and when the id of the visitor was drawn.

    Called by the extension at the end of a request that has evaluated a watched flag, with
    `request.flags`. The network is None without CLIENT_ADDRESS. The hash needs SECRET_KEY, so a
    reader of the database cannot try all networks.
    """
    request = flags.context.request
    drawn_at = visitor_of_request(request).drawn_at
    path = CLIENT_ADDRESS.current()
    if path is None:
        return None, drawn_at
    return salted_hmac(_SALT, _network(path, request), algorithm="sha256").digest(), drawn_at


def _network(path: str, request: object) -> bytes:
    """Returns the network of the client. All clients without an address share one."""
    try:
        text = result_of(path, request, _ADDRESSES, "an IP address")
    except RequestFunctionError as problem:
        return _unknown(path, str(problem))
    if text is None:
        return _UNKNOWN
    try:
        address = ip_address(text)
    except ValueError:
        # The text is not shown: it may be an address.
        return _unknown(path, "returned a text that is not an IP address")
    return _bytes_of(address)


def _bytes_of(address: IPv4Address | IPv6Address) -> bytes:
    # An IPv6 address may contain the IPv4 address of its client, who has only one network then.
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if inner is None:
            return address.packed[:_IPV6_BYTES]
        address = inner
    return address.packed[:_IPV4_BYTES]


def _unknown(path: str, problem: str) -> bytes:
    message = (
        f"{path} in CLIENT_ADDRESS {problem}; requests without an address count as those of one "
        "network"
    )
    log_once("client address", problem, message)
    return _UNKNOWN
