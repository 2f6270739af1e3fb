"""A door before a PostgreSQL that speaks TLS for it: the embedded one is built without."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from typing import final

from tests.certificates import Certificate

__all__ = ["Door"]

_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_HANDSHAKE = b"\x16"


@final
class Door:
    """Lets clients through to the server at `port`, encrypted where it has a certificate.

    With `clients` it asks for a certificate that is signed by that one; with `only` it takes no
    other way. `seen` has a word for each connection that came through.
    """

    def __init__(
        self,
        port: int,
        certificate: Certificate | None = None,
        clients: Certificate | None = None,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self._server = port
        self._context = _context(certificate, clients, version) if certificate else None
        self.seen: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen)]

    def __enter__(self) -> Door:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._let_in, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _let_in(self, client: socket.socket) -> None:
        try:
            with client, self._greeted(client) as greeted:
                server = socket.create_connection(("127.0.0.1", self._server))
                with server:
                    self.seen.append("tls" if isinstance(greeted, ssl.SSLSocket) else "plain")
                    _pass_on(greeted, server)
        except OSError:  # the other side has had enough; ssl's errors are such errors too
            return

    def _greeted(self, client: socket.socket) -> socket.socket:
        first = client.recv(1, socket.MSG_PEEK)
        if not first:
            raise ConnectionResetError
        is_direct = first == _HANDSHAKE
        if not is_direct and client.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL) != _REQUEST:
            return client
        if not is_direct:
            client.recv(8, socket.MSG_WAITALL)
            client.sendall(b"S" if self._context else b"N")
        return self._context.wrap_socket(client, server_side=True) if self._context else client


def _context(
    certificate: Certificate, clients: Certificate | None, version: ssl.TLSVersion
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.load_cert_chain(certificate.file, certificate.key)
    context.set_alpn_protocols(["postgresql"])
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.file)
    return context


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    while True:
        waiting = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if waiting else select.select([client, server], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (server if source is client else client).sendall(data)
