"""A proxy that adds TLS to a PostgreSQL server: the embedded one is built without it."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from typing import final

from tests.support.certificates import Certificate

_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_HANDSHAKE = b"\x16"


@final
class TlsProxy:
    """Forwards clients to the server at `port`, encrypted if it has a certificate.

    With `clients` it requires a client certificate that this authority has signed. `seen` has
    "tls" or "plain" for each forwarded connection.
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

    def __enter__(self) -> TlsProxy:
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
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, self._negotiate(client) as negotiated:
                server = socket.create_connection(("127.0.0.1", self._server))
                with server:
                    self.seen.append("tls" if isinstance(negotiated, ssl.SSLSocket) else "plain")
                    _forward(negotiated, server)
        except OSError:  # one side has closed the connection; ssl's errors are OSErrors too
            return

    def _negotiate(self, client: socket.socket) -> socket.socket:
        first = client.recv(1, socket.MSG_PEEK)
        if not first:
            raise ConnectionResetError
        is_direct = first == _HANDSHAKE
        if not is_direct and client.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL) != _REQUEST:
            return client
        if not is_direct:
            client.recv(8, socket.MSG_WAITALL)
            client.sendall(b"S" if self._context else b"N")
        # Of a client that is gone, Python would leave the wrapped socket open.
        client.getpeername()
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


def _forward(client: socket.socket, server: socket.socket) -> None:
    while True:
        buffered = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if buffered else select.select([client, server], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (server if source is client else client).sendall(data)
