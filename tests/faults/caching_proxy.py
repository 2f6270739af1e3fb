"""A shared HTTP cache before a server, which obeys Cache-Control and Vary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import ClassVar

from tools.ports import LOOPBACK

__all__ = ["CachingProxy", "running_proxy"]

_NOT_STORED = {"private", "no-store", "no-cache"}


@dataclass
class _Stored:
    """A response, and the request headers that it varies on."""

    varies_on: dict[str, str | None]
    expires: float
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class CachingProxy:
    """The cache. Responses that it returned without the server are counted by path."""

    port: int
    upstream: int
    hits: dict[str, int] = field(default_factory=dict)
    _stored: dict[str, list[_Stored]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, path: str, headers: Message) -> _Stored | None:
        """Returns what is stored for such a request."""
        with self._lock:
            for stored in self._stored.get(path, []):
                matches = all(headers[name] == value for name, value in stored.varies_on.items())
                if matches and time.monotonic() < stored.expires:
                    self.hits[path] = self.hits.get(path, 0) + 1
                    return stored
        return None

    def store(self, path: str, request: Message, response: Message, stored: _Stored) -> None:
        """Stores a response if a shared cache may do so."""
        control = {part.strip() for part in response.get("Cache-Control", "").split(",")}
        ages = [part.partition("=")[2] for part in control if part.startswith("max-age=")]
        names = [name.strip() for name in response.get("Vary", "").split(",") if name.strip()]
        if control & _NOT_STORED or not ages or "*" in names:
            return
        stored.expires = time.monotonic() + int(ages[0])
        stored.varies_on = {name: request[name] for name in names}
        with self._lock:
            self._stored.setdefault(path, []).append(stored)


@contextmanager
def running_proxy(upstream: int) -> Iterator[CachingProxy]:
    """Runs a cache before the server at the port `upstream`."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        Handler.proxy = CachingProxy(server.server_port, upstream)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Handler.proxy
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    proxy: ClassVar[CachingProxy]

    def do_GET(self) -> None:
        """Responds from the cache, or else from the server."""
        self._respond(self.proxy.find(self.path, self.headers) or self._fetch())

    def _fetch(self) -> _Stored:
        connection = HTTPConnection(LOOPBACK, self.proxy.upstream, timeout=10)
        try:
            connection.request("GET", self.path, headers=dict(self.headers.items()))
            response = connection.getresponse()
            stored = _Stored({}, 0, response.getheaders(), response.read())
            self.proxy.store(self.path, self.headers, response.headers, stored)
            return stored
        finally:
            connection.close()

    def _respond(self, stored: _Stored) -> None:
        self.send_response(200)
        for name, value in stored.headers:
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(stored.body)

    def log_message(self, *arguments: object) -> None:
        """Logs nothing."""
