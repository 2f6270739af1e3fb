"""A TCP proxy between a worker and its server that can be stopped, slowed and cut."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

HOST = "127.0.0.1"
# Makes close() send a reset, as a machine does that has lost the state of the connection.
RESET = struct.pack("ii", 1, 0)


@dataclass
class Connection:
    """A client's connection. Times are those of `time.monotonic`."""

    opened: float
    closed: float | None = None
    sockets: list[socket.socket] = field(default_factory=list, repr=False)
    sent: bytes = field(default=b"", repr=False)
    drops_answer: bool = False

    @property
    def duration(self) -> float:
        return (self.closed or time.monotonic()) - self.opened


@final
class Proxy:
    """Forwards connections from its own port to the server at `url`.

    While stopped it accepts connections and data and forwards nothing, like a network that loses
    every packet. As a context manager it ends all connections.
    """

    def __init__(self, url: str) -> None:
        self._parameters = conninfo_to_dict(url)
        self._server = (str(self._parameters["host"]), int(str(self._parameters["port"])))
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self._copying = threading.Event()
        self._copying.set()
        self._closed = False
        self._delay = 0.0
        self._threads: list[threading.Thread] = []
        self.connections: list[Connection] = []
        #: Bytes received from the server.
        self.received = 0
        #: How many answers `lose_answers` has dropped.
        self.lost = 0
        self._lost_words: tuple[bytes, ...] = ()
        self._remaining_losses = 0
        self._start(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        # close() would not wake the thread that waits in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        self.resume()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def url(self) -> str:
        """The address of the same database through the proxy."""
        port = self._listener.getsockname()[1]
        return make_conninfo(**self._parameters | {"host": HOST, "port": port})

    def stop(self) -> None:
        """Stops forwarding, in both directions."""
        self._copying.clear()

    def resume(self) -> None:
        """Forwards again, first what arrived meanwhile."""
        self._copying.set()

    def slow(self, seconds: float) -> None:
        """Delays everything by this many seconds."""
        self._delay = seconds

    def lose_answers(self, *words: bytes, times: int) -> None:
        """Forwards a message with these words in this order, drops its answer, and disconnects."""
        self._lost_words, self._remaining_losses = words, times

    def cut(self) -> None:
        """Ends all connections with a reset."""
        for connection in self.connections:
            for end in connection.sockets:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RDWR)

    def _start(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(time.monotonic(), sockets=[client])
            self.connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        [client] = connection.sockets
        with client:
            # While stopped the connection is accepted, as by a load balancer.
            self._copying.wait()
            with suppress(OSError), socket.create_connection(self._server) as server:
                connection.sockets.append(server)
                # Sends small packets at once.
                for end in connection.sockets:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(
                    target=self._copy, args=(connection, server, client), daemon=True
                )
                back.start()
                self._copy(connection, client, server)
                back.join()
        connection.closed = time.monotonic()

    def _copy(self, connection: Connection, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            from_server = source.getpeername() == self._server
            while data := source.recv(65536):
                self.received += len(data) if from_server else 0
                time.sleep(self._delay)
                self._copying.wait()
                if from_server and connection.drops_answer:
                    self.lost += 1
                    break
                if not from_server and self._remaining_losses:
                    self._check_losses(connection, data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _check_losses(self, connection: Connection, data: bytes) -> None:
        """Marks the connection if it has sent all words whose answer is to be lost."""
        connection.sent += data
        rest = connection.sent
        for word in self._lost_words:
            _before, separator, rest = rest.partition(word)
            if not separator:
                return
        connection.drops_answer = True
        self._remaining_losses -= 1
