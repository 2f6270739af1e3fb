"""A network between a worker and its server that can be stopped, slowed and cut."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Proxy", "Try"]

HOST = "127.0.0.1"
# What closes is told of by a reset, as from a machine that has forgotten the connection.
RESET = struct.pack("ii", 1, 0)


@dataclass
class Try:
    """A connection that somebody made; the times are those of `time.monotonic`."""

    opened: float
    closed: float | None = None
    sockets: list[socket.socket] = field(default_factory=list, repr=False)
    said: bytes = field(default=b"", repr=False)
    is_forgotten: bool = False

    @property
    def lasted(self) -> float:
        return (self.closed or time.monotonic()) - self.opened


@final
class Proxy:
    """Copies what is said between its own port and the server at `url`.

    While it is stopped it takes connections, and everything that is sent to it, and passes nothing
    on: neither side can tell it from a network that loses every packet. As a context manager it
    ends all connections.
    """

    def __init__(self, url: str) -> None:
        self._settings = conninfo_to_dict(url)
        self._server = (str(self._settings["host"]), int(str(self._settings["port"])))
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self._copying = threading.Event()
        self._copying.set()
        self._ended = False
        self._pause = 0.0
        self._threads: list[threading.Thread] = []
        self.tries: list[Try] = []
        #: Bytes that came from the server.
        self.brought = 0
        #: How many answers were lost, as `lose_answers` has it.
        self.lost = 0
        self._losing: tuple[bytes, ...] = ()
        self._losing_times = 0
        self._begin(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        # Closing it would not wake the thread that waits for a connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        self.resume()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def url(self) -> str:
        """The address of the same database by way of the proxy."""
        port = self._listener.getsockname()[1]
        return make_conninfo(**self._settings | {"host": HOST, "port": port})

    def stop(self) -> None:
        """Pass nothing on any more, in neither direction."""
        self._copying.clear()

    def resume(self) -> None:
        """Pass on again, first what has come meanwhile."""
        self._copying.set()

    def slow(self, seconds: float) -> None:
        """Keep everything for so long before it is passed on."""
        self._pause = seconds

    def lose_answers(self, *words: bytes, times: int) -> None:
        """Bring to the server what has these words in this order, lose its answer, and cut."""
        self._losing, self._losing_times = words, times

    def cut(self) -> None:
        """End all connections that there are, with a reset."""
        for one in self.tries:
            for end in one.sockets:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RDWR)

    def _begin(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            one = Try(time.monotonic(), sockets=[client])
            self.tries.append(one)
            self._begin(self._serve, one)

    def _serve(self, one: Try) -> None:
        [client] = one.sockets
        with client:
            # A stopped network takes the connection, as a load balancer before it would.
            self._copying.wait()
            with suppress(OSError), socket.create_connection(self._server) as server:
                one.sockets.append(server)
                # What is small is not kept back until more has come.
                for end in one.sockets:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._copy, args=(one, server, client), daemon=True)
                back.start()
                self._copy(one, client, server)
                back.join()
        one.closed = time.monotonic()

    def _copy(self, one: Try, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            from_server = source.getpeername() == self._server
            while data := source.recv(65536):
                self.brought += len(data) if from_server else 0
                time.sleep(self._pause)
                self._copying.wait()
                if from_server and one.is_forgotten:
                    self.lost += 1
                    break
                if not from_server and self._losing_times:
                    self._listen(one, data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _listen(self, one: Try, data: bytes) -> None:
        """Forget the connection from here on, if it has said what is to be lost."""
        one.said += data
        rest = one.said
        for word in self._losing:
            _before, found, rest = rest.partition(word)
            if not found:
                return
        one.is_forgotten = True
        self._losing_times -= 1
