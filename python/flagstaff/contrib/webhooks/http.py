"""One HTTP POST with a deadline, over the proxy of the environment if there is one.

Redirects are not followed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event, Thread
from typing import Any
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from flagstaff.contrib.webhooks.receivers import Receiver

# Too many requests, and the responses of a proxy whose server is down.
_UNREACHABLE = (429, 502, 503, 504)
# Short, to notice soon that the receiver is back.
_PAUSE, _MAX_PAUSE = 30.0, 3600.0
_MAX_DIGITS = 9
# A request that takes too long may have no connection yet.
_SECONDS_BETWEEN_SHUTDOWNS = 0.1


class UnreachableError(Exception):
    """The receiver gets no messages now, for `pause` seconds. Contains no part of the URL."""

    def __init__(self, message: str, pause: float = _PAUSE) -> None:
        super().__init__(message)
        self.pause = pause


class _Handler(HTTPSHandler, HTTPHandler):
    """Keeps the connection of the request."""

    connection: HTTPConnection | None = None

    def do_open(self, http_class: Any, req: Request, **http_conn_args: Any) -> HTTPResponse:
        def connect(host: str, **options: Any) -> HTTPConnection:
            connection: HTTPConnection = http_class(host, **options)
            self.connection = connection
            return connection

        return super().do_open(connect, req, **http_conn_args)


def post(receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> int:
    """Sends one request and returns the status of the response. Raises UnreachableError.

    Blocks for at most the receiver's `timeout`, plus the time that the system takes to resolve the
    host name, and plus a timeout for each address of the host that does not accept a connection.
    """
    handler, opener = _Handler(), OpenerDirector()
    opener.add_handler(handler)
    # A request to this machine must not leave it, because it may be without TLS.
    opener.add_handler(ProxyHandler({} if receiver.is_local else None))
    request = Request(receiver.url, body, {**headers}, method="POST")  # noqa: S310 (WEBHOOKS allows http and https only)
    with _deadline(receiver.timeout, handler) as timed_out:
        try:
            with opener.open(request, timeout=receiver.timeout) as response:
                status, retry_after = response.status, response.headers["Retry-After"]
            if timed_out.is_set():  # a shutdown within the headers looks like their end
                raise TimeoutError
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if timed_out.is_set() or isinstance(reason, TimeoutError):
                text = f"no response within {receiver.timeout:g} s"
            elif isinstance(reason, OSError):
                text = reason.strerror or str(reason)
            else:  # it may quote what the server has sent, or the URL of the proxy
                text = "no valid HTTP response; check the URL"
            by = "over the proxy of the environment: " if request.host != receiver.host else ""
            # Without the cause: its text and frames may contain the URL.
            raise UnreachableError(by + text) from None
    if status in _UNREACHABLE:
        raise UnreachableError(f"status {status}", pause_of(retry_after))
    return int(status)


def pause_of(retry_after: str | None) -> float:
    """Returns the seconds of a pause: as many as a Retry-After header asks for, within limits."""
    text = (retry_after or "").strip()
    seconds = float(text[:_MAX_DIGITS]) if text.isascii() and text.isdigit() else 0.0
    return min(max(seconds, _PAUSE), _MAX_PAUSE)


@contextmanager
def _deadline(seconds: float, handler: _Handler) -> Iterator[Event]:
    """Shuts the connection down at the deadline. A socket's own timeout restarts with each byte."""
    done, timed_out = Event(), Event()

    def shut_down() -> None:
        wait = seconds
        while not done.wait(wait):
            timed_out.set()
            wait = _SECONDS_BETWEEN_SHUTDOWNS
            if handler.connection and handler.connection.sock:
                with suppress(OSError):
                    # Below TLS, which the other thread uses.
                    socket.socket.shutdown(handler.connection.sock, socket.SHUT_RDWR)

    watcher = Thread(target=shut_down, daemon=True)
    watcher.start()
    try:
        yield timed_out
    finally:
        done.set()
        watcher.join()
