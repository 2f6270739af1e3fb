"""One HTTP POST with a deadline for all of it, over the proxy of the environment if there is one.

Redirects are not followed.
"""

from __future__ import annotations

import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from threading import Event, Timer
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from flagstaff._core import monotonic
from flagstaff.contrib.webhooks.receivers import Receiver, is_loopback, port_of

# No look-up, and an IPv6 zone stays part of the address.
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class UnreachableError(Exception):
    """There was no HTTP response. The message contains no part of the URL."""


@dataclass(frozen=True)
class Response:
    """A receiver's response. Its body is not read."""

    status: int
    #: The header Retry-After.
    retry_after: str | None


def post(receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> Response:
    """Sends one request and returns the response.

    Blocks for at most the receiver's `timeout`, plus the time that the system takes to resolve the
    host name. Raises UnreachableError.
    """
    deadline = monotonic() + receiver.timeout
    timed_out = Event()
    proxy = _proxy(receiver)
    try:
        connected = _connect(proxy or receiver.split, deadline)
        with closing(connected) as tcp, _shutdown_at(deadline, tcp, timed_out):
            response = _send(receiver, proxy, tcp, body, headers)
    except (OSError, HTTPException, ValueError) as error:
        if timed_out.is_set() or isinstance(error, TimeoutError):
            raise UnreachableError(_no_response(receiver)) from None
        # Without the cause: its text and frames may contain the URL.
        by = "over the proxy of the environment: " if proxy else ""
        raise UnreachableError(f"{by}{_reason(error)}") from None
    if timed_out.is_set():  # a shutdown within the headers looks like the end of the headers
        raise UnreachableError(_no_response(receiver))
    return response


def _proxy(receiver: Receiver) -> SplitResult | None:
    """Returns the proxy by HTTP_PROXY, HTTPS_PROXY and NO_PROXY; None for a receiver without one.

    There is none for this machine, because a request without TLS must not leave it.
    """
    url = receiver.split
    proxy = getproxies_environment().get(url.scheme)
    if not proxy or is_loopback(url) or proxy_bypass(url.netloc):
        return None
    with suppress(ValueError):
        split = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if split.scheme == "http" and split.hostname and split.port != 0:
            return split
    raise UnreachableError("the proxy of the environment is no http:// URL; see HTTPS_PROXY")


def _connect(url: SplitResult, deadline: float) -> socket.socket:
    """Connects to the first address that accepts. All addresses share the deadline."""
    port = port_of(url)
    addresses = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    error = OSError("no address")
    for *_, address in addresses:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            # With the host name, create_connection would allow `left` seconds for each address.
            host, _port = socket.getnameinfo(address, _NUMERIC)
            return socket.create_connection((host, port), timeout=left)
        except OSError as failure:
            error = failure
    raise error


@contextmanager
def _shutdown_at(deadline: float, tcp: socket.socket, timed_out: Event) -> Iterator[None]:
    """Shuts the connection down at the deadline. A socket's own timeout restarts with each byte."""

    def shut_down() -> None:
        timed_out.set()
        with suppress(OSError):
            # Below TLS, which the other thread uses.
            tcp.shutdown(socket.SHUT_RDWR)

    timer = Timer(max(deadline - monotonic(), 0), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _send(
    receiver: Receiver,
    proxy: SplitResult | None,
    tcp: socket.socket,
    body: bytes,
    headers: Mapping[str, str],
) -> Response:
    url, login = receiver.split, _proxy_login(proxy)
    target = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
    all_headers = {"Host": receiver.host, "Connection": "close", **headers}
    if url.scheme == "http":
        if proxy:
            target, all_headers = f"http://{receiver.host}{target}", {**all_headers, **login}
        return _request(tcp, "POST", target, body, all_headers)
    # Duplicates of the descriptor: a shutdown of the original ends them too.
    if proxy:
        # TLS is with the receiver, so the proxy sees its host and port only.
        place = receiver.host if url.port else f"{receiver.host}:{port_of(url)}"
        status = _request(tcp.dup(), "CONNECT", place, None, {"Host": place, **login}).status
        if status != HTTPStatus.OK:
            raise UnreachableError(f"the proxy refuses with status {status}; see HTTPS_PROXY")
    tls = _tls().wrap_socket(tcp.dup(), server_hostname=url.hostname)
    return _request(tls, "POST", target, body, all_headers)


def _proxy_login(proxy: SplitResult | None) -> dict[str, str]:
    if not (proxy and proxy.username):
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(login).decode()}"}


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(
    connected: socket.socket,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Response:
    connection = HTTPConnection("")
    connection.sock = connected
    with closing(connection):
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return Response(response.status, response.getheader("Retry-After"))


def _no_response(receiver: Receiver) -> str:
    return f"no response within {receiver.timeout:g} s"


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the TLS certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError):
        return "the connection was lost"
    return "the receiver sent an invalid HTTP response; check the URL"
