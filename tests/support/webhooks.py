"""A webhook receiver for tests: an HTTP server in a thread with chosen responses."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Thread
from typing import Any, final

import pytest
from django.db import connection

from flagstaff.contrib.webhooks import deliver
from tests.support.sql import rows

SECRET = "whsec_" + "c2VjcmV0" * 4

Respond = Callable[["Received"], "tuple[int, dict[str, str]]"]


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


@final
class Webhook:
    """Listens on loopback. `received` has all requests, `accepted` those with a 2xx response."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.accepted: list[Received] = []
        self.respond: Respond = lambda _: (200, {})
        # While it is set, requests get no response until `released` is set.
        self.hangs = Event()
        self.requested = Event()
        self.released = Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> Webhook:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/T0/B0/token"

    def settings(self, **others: Any) -> dict[str, Any]:
        """Returns its options in WEBHOOKS."""
        return {"url": self.url, "secret": SECRET, **others}

    def respond_with(self, status: int, **headers: str) -> None:
        """Gives this response from now on."""
        by_name = {name.replace("_", "-"): value for name, value in headers.items()}
        self.respond = lambda _: (status, by_name)

    def start(self) -> None:
        """Listens, on the same port as before."""
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
        """Refuses connections, like a machine whose server is down."""
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
        self.requested.set()
        if self.hangs.is_set():
            self.released.wait(30)
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        status, response_headers = self.respond(received)
        if 200 <= status < 300:
            self.accepted.append(received)
        handler.send_response(status)
        for name, value in response_headers.items():
            handler.send_header(name, value)
        handler.end_headers()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def make_due() -> None:
    """Ends all retry delays and pauses."""
    rows("UPDATE flagstaff_webhooks_delivery SET due_at = now() - interval '1 second'")
    rows("UPDATE flagstaff_webhooks_position SET paused_until = NULL")


def assert_delivered(**expected: Any) -> None:
    """Runs `deliver` for the one receiver and compares these fields of its report."""
    [report] = deliver()
    assert {name: getattr(report, name) for name in expected} == expected


def percents(hook: Webhook, key: str = "new_checkout") -> list[int]:
    """Returns the rollouts in the accepted messages of a flag, in order."""
    data = [received.data for received in hook.accepted]
    return [row["changes"]["rollout_percent"]["new"] for row in data if row["key"] == key]


@contextmanager
def deliver_in_thread(gate: Barrier | None = None) -> Iterator[None]:
    """Runs `deliver` in a thread, and waits for its end when the block is left."""

    def run() -> None:
        if gate:
            gate.wait()
        try:
            deliver()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        yield
    future.result()
