"""A receiver of messages: an HTTP server in a thread, that answers as it is told."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, final

from django.db import connection

__all__ = ["SECRET", "Received", "Webhook", "later"]

SECRET = "whsec_" + "c2VjcmV0" * 4

Answer = Callable[["Received"], "tuple[int, dict[str, str]]"]


@dataclass(frozen=True)
class Received:
    """A received request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> Any:
        return self.json["data"]


def well(_received: Received) -> tuple[int, dict[str, str]]:
    return 200, {}


@final
class Webhook:
    """Listens on loopback. What it took, with a 2xx, is in `taken`; all requests, in `received`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.taken: list[Received] = []
        self.answer: Answer = well
        # Set as long as whoever asks is kept waiting.
        self.hangs = Event()
        self.asked = Event()
        self.released = Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> Webhook:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.released.set()
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/T0/B0/token"

    def settings(self, **others: Any) -> dict[str, Any]:
        """How WEBHOOKS names it."""
        return {"url": self.url, "secret": SECRET, **others}

    def says(self, status: int, **headers: str) -> None:
        """Answer so from now on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda _: (status, named)

    def start(self) -> None:
        """Listen, at the same port as before."""
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook._post(self)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = False
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections, as a machine does whose program is down."""
        if self._server:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        received = Received(handler.path, headers, body)
        self.received.append(received)
        self.asked.set()
        if self.hangs.is_set():
            self.released.wait(30)
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        status, answered = self.answer(received)
        if 200 <= status < 300:
            self.taken.append(received)
        handler.send_response(status)
        for name, value in answered.items():
            handler.send_header(name, value)
        handler.end_headers()


def later() -> None:
    """Let all rests be over."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_delivery SET due_at = now() - interval '1 second'")
        cursor.execute("UPDATE flagstaff_receiver SET paused_until = NULL")
