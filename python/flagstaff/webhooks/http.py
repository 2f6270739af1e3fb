"""One HTTP POST with a deadline for all of it. Redirects are not followed."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException
from threading import Event, Timer

from flagstaff._core import monotonic
from flagstaff.conf.receivers import Receiver

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
    try:
        with closing(_connect(receiver, deadline)) as tcp, _shutdown_at(deadline, tcp, timed_out):
            response = _request(_wrap_tls(receiver, tcp), receiver, body, headers)
    except (OSError, HTTPException, ValueError) as error:
        if timed_out.is_set() or isinstance(error, TimeoutError):
            raise UnreachableError(_no_response(receiver)) from None
        # Without the cause: its text and frames may contain the URL.
        raise UnreachableError(_reason(error)) from None
    if timed_out.is_set():  # a shutdown within the headers looks like the end of the headers
        raise UnreachableError(_no_response(receiver))
    return response


def _connect(receiver: Receiver, deadline: float) -> socket.socket:
    """Connects to the first address that accepts. All addresses share the deadline."""
    addresses = socket.getaddrinfo(receiver.split.hostname, receiver.port, type=socket.SOCK_STREAM)
    error = OSError("no address")
    for *_, address in addresses:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            # With the host name, create_connection would allow `left` seconds for each address.
            host, _port = socket.getnameinfo(address, _NUMERIC)
            return socket.create_connection((host, receiver.port), timeout=left)
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


def _wrap_tls(receiver: Receiver, tcp: socket.socket) -> socket.socket:
    if receiver.split.scheme == "http":
        return tcp
    # A duplicate of the descriptor: a shutdown of the original ends it too.
    return _tls().wrap_socket(tcp.dup(), server_hostname=receiver.split.hostname)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(
    connected: socket.socket, receiver: Receiver, body: bytes, headers: Mapping[str, str]
) -> Response:
    url = receiver.split
    target = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
    connection = HTTPConnection(url.hostname or "", receiver.port)
    connection.sock = connected
    with closing(connection):
        all_headers = {"Host": receiver.host, "Connection": "close", **headers}
        connection.request("POST", target, body, all_headers)
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
