"""One request over HTTP, within a time that includes all of it. No redirect is followed."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException
from threading import Event, Timer

from flagstaff.conf.receivers import Receiver

__all__ = ["Answer", "UnreachableError", "post"]


class UnreachableError(Exception):
    """Nothing answered. The text names the class of the error, and nothing of the address."""


@dataclass(frozen=True)
class Answer:
    """What a receiver answered. Its body is not read."""

    status: int
    #: The header Retry-After.
    retry_after: str | None


def post(receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send it, and give the answer.

    Blocks for at most the receiver's `timeout`, and for as long as the system takes to look up the
    host. Raises UnreachableError.
    """
    until = time.monotonic() + receiver.timeout
    too_late = Event()
    try:
        with closing(_connected(receiver, until)) as plain, _ends(plain, until, too_late):
            answer = _asked(_protected(receiver, plain), receiver, body, headers)
    except (OSError, HTTPException, ValueError) as error:
        if too_late.is_set() or isinstance(error, TimeoutError):
            raise UnreachableError(f"no answer within {receiver.timeout:g} s") from None
        # Without its cause, whose text and frames may have the address.
        raise UnreachableError(_reason(error)) from None
    if too_late.is_set():  # an end amid the headers looks like the end of the headers
        raise UnreachableError(f"no answer within {receiver.timeout:g} s")
    return answer


def _connected(receiver: Receiver, until: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    found = socket.getaddrinfo(receiver.split.hostname, receiver.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for family, kind, protocol, _name, address in found:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(left)
            plain.connect(address)
        except OSError as error:
            plain.close()
            failure = error
        else:
            return plain
    raise failure


@contextmanager
def _ends(plain: socket.socket, until: float, too_late: Event) -> Iterator[None]:
    """Hang up when the time is over. A time limit of the socket begins anew with each byte."""

    def hang_up() -> None:
        too_late.set()
        with suppress(OSError):
            # Below TLS, which the other thread uses.
            plain.shutdown(socket.SHUT_RDWR)

    timer = Timer(max(until - time.monotonic(), 0), hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _protected(receiver: Receiver, plain: socket.socket) -> socket.socket:
    if receiver.split.scheme == "http":
        return plain
    # Of the same descriptor, and it hangs up as the other does.
    return _tls().wrap_socket(plain.dup(), server_hostname=receiver.split.hostname)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _asked(
    link: socket.socket, receiver: Receiver, body: bytes, headers: Mapping[str, str]
) -> Answer:
    split = receiver.split
    target = f"{split.path or '/'}{'?' if split.query else ''}{split.query}"
    connection = HTTPConnection(receiver.split.hostname or "", receiver.port)
    connection.sock = link
    with closing(connection):
        sent = {"Host": receiver.host, "Connection": "close", **headers}
        connection.request("POST", target, body, sent)
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Retry-After"))


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the host is not known"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the connection cannot be protected"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError):
        return "the connection was lost"
    return "the answer is not HTTP"
