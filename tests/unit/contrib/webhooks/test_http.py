"""One POST to servers that respond, hang, hang up, or speak another protocol."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from flagstaff.contrib.webhooks.http import UnreachableError, post
from flagstaff.contrib.webhooks.receivers import Receiver
from tests.support.certificates import Certificate, authority, certificate
from tests.support.webhooks import Webhook
from tools.limits import seconds


def receiver_at(url: str, timeout: float = 5) -> Receiver:
    return Receiver("ops", url, timeout=timeout)


def post_error(receiver: Receiver) -> str:
    with pytest.raises(UnreachableError) as error:
        post(receiver, b"{}", {})
    assert error.value.__cause__ is None
    return str(error.value)


UNRESOLVED = "Name or service not known"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knows no host below "invalid". That of the machine may give another error at each call."""
    resolve = socket.getaddrinfo

    def resolve_valid(name: str, *rest: int, **options: int) -> object:
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, UNRESOLVED)
        return resolve(name, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_valid)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def serve_once(
    listener: socket.socket,
    handle: Callable[[socket.socket], object],
    scheme: str = "http",
    timeout: float = 30,
) -> Receiver:
    """Handles one connection in a thread. Returns a receiver that connects there."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            handle(connection)

    threading.Thread(target=serve).start()
    return receiver_at(f"{scheme}://localhost:{listener.getsockname()[1]}/", timeout)


def test_post_returns_the_status_of_the_response(hook: Webhook) -> None:
    hook.respond_with(404)
    assert post(receiver_at(f"{hook.url}?a=b"), b'{"a": 1}', {"X-A": "b"}) == 404
    [received] = hook.received
    assert (received.path, received.json) == ("/hooks/T0/B0/token?a=b", {"a": 1})
    assert received.headers["host"] == f"127.0.0.1:{hook.port}"
    assert received.headers["x-a"] == "b"


@pytest.mark.usefixtures("resolver")
def test_post_to_a_server_that_cannot_be_reached_fails(hook: Webhook) -> None:
    assert post_error(receiver_at("http://hooks.invalid/")) == UNRESOLVED
    assert post_error(receiver_at(hook.url.replace("http:", "https:"))).startswith("[SSL")
    hook.stop()
    assert post_error(receiver_at(hook.url)) == "Connection refused"


def test_post_tries_the_next_address(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def resolve_both(host: str, port: int, *rest: int, **options: int) -> object:
        if host != "hooks.example":
            return resolve(host, port, *rest, **options)
        # Nothing listens on the first address.
        addresses = [resolve(ip, port, *rest, **options) for ip in ("127.0.0.2", "127.0.0.1")]
        return [address for of_host in addresses for address in of_host]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_both)
    assert post(receiver_at(f"http://hooks.example:{hook.port}/"), b"{}", {}) == 200
    assert hook.received[0].headers["host"] == f"hooks.example:{hook.port}"


def drip(connection: socket.socket) -> None:
    """Sends a response byte by byte, without end."""
    connection.settimeout(5)
    with connection.makefile("rwb", buffering=0) as file:
        try:
            file.write(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                file.write(b"a")
                time.sleep(0.01)  # the time between two bytes does not matter
        except OSError:
            pass


def hang(connection: socket.socket) -> None:
    connection.recv(9999)
    connection.recv(9999)


@pytest.mark.parametrize(("handle", "scheme"), [(drip, "http"), (hang, "https")])
def test_post_ends_at_the_deadline_whatever_the_server_sends(
    listener: socket.socket, handle: Callable[[socket.socket], object], scheme: str
) -> None:
    began = time.monotonic()
    assert post_error(serve_once(listener, handle, scheme, 0.3)) == "no response within 0.3 s"
    assert time.monotonic() - began < seconds(2)


@pytest.mark.parametrize(
    ("response", "errors"),
    [
        (b"220 mail\r\n", ("no valid HTTP response; check the URL",)),
        (b"", ("Remote end closed connection without response", "Connection reset by peer")),
    ],
    ids=["another protocol", "hangs up"],
)
def test_post_to_a_server_that_does_not_respond_with_http_fails(
    listener: socket.socket, response: bytes, errors: tuple[str, ...]
) -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(9999)
        connection.sendall(response)

    assert post_error(serve_once(listener, respond)) in errors


def serve_tls(certificate: Certificate, connection: socket.socket) -> None:
    """Handles one request over TLS, if the client trusts the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
        request = b""
        while not request.endswith(b"{}"):
            request += tls.recv(9999)
        tls.sendall(b"HTTP/1.1 204 \r\n\r\n")


def test_certificate_must_be_trusted(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = authority(tmp_path, "hooks")
    serve = partial(serve_tls, certificate)
    error = post_error(serve_once(listener, serve, "https"))
    assert "certificate verify failed: self" in error
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    assert post(serve_once(listener, serve, "https"), b"{}", {}) == 204


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Has no proxy yet."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


class Proxy:
    """Handles one connection to the listener as a proxy does. `request` is what it has read."""

    def __init__(self, listener: socket.socket, respond: Callable[[socket.socket], object]) -> None:
        self.request = b""
        self._respond = respond
        serve_once(listener, self._handle)
        self.url = f"http://shop:open%20sesame@localhost:{listener.getsockname()[1]}"

    def _handle(self, connection: socket.socket) -> None:
        while b"\r\n\r\n" not in self.request:
            self.request += connection.recv(9999)
        self._respond(connection)


# Of shop:open sesame
LOGIN = b"Proxy-Authorization: Basic c2hvcDpvcGVuIHNlc2FtZQ==\r\n"


@pytest.mark.parametrize("host", ["hooks.example", "hooks.example:", "hooks.example:443"])
def test_https_receiver_is_reached_through_a_tunnel_of_the_proxy(
    host: str, listener: socket.socket, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    theirs = certificate(tmp_path, "hooks", host="hooks.example", is_authority=True)
    environment.setenv("SSL_CERT_FILE", str(theirs.file))

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        serve_tls(theirs, connection)

    proxy = Proxy(listener, tunnel)
    environment.setenv("HTTPS_PROXY", proxy.url)
    headers = {"webhook-signature": "v1,secret"}
    assert post(receiver_at(f"https://{host}/token"), b"{}", headers) == 204
    assert proxy.request.startswith(b"CONNECT hooks.example:443 HTTP/1.")
    assert LOGIN in proxy.request
    assert b"secret" not in proxy.request
    assert b"token" not in proxy.request


def test_http_receiver_is_reached_by_its_url_at_the_proxy(
    listener: socket.socket, environment: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(listener, lambda connection: connection.sendall(b"HTTP/1.1 204 \r\n\r\n"))
    environment.setenv("http_proxy", proxy.url.removeprefix("http://"))
    assert post(receiver_at("http://hooks.example:81/token?a=b"), b"{}", {}) == 204
    assert proxy.request.startswith(b"POST http://hooks.example:81/token?a=b HTTP/1.1\r\n")
    assert b"Host: hooks.example:81\r\n" in proxy.request
    assert LOGIN in proxy.request


@pytest.mark.parametrize(
    ("host", "without"),
    [("127.0.0.1", ""), ("localhost", ""), ("hooks.example", "hooks.example"), ("a.b", ".b,c")],
)
def test_receiver_of_this_machine_or_of_no_proxy_is_reached_directly(
    host: str, without: str, hook: Webhook, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTP_PROXY", "http://proxy.invalid:9")
    environment.setenv("NO_PROXY", without)
    resolve = socket.getaddrinfo

    def resolve_here(name: str, *rest: int, **options: int) -> object:
        return resolve("127.0.0.1" if name == host else name, *rest, **options)

    environment.setattr(socket, "getaddrinfo", resolve_here)
    assert post(receiver_at(f"http://{host}:{hook.port}/"), b"{}", {}) == 200


@pytest.mark.parametrize(
    ("proxy", "error"),
    [
        ("", "Tunnel connection failed: 407 Proxy Authentication Required"),
        ("http://shop:hunter2@proxy.invalid:9", UNRESOLVED),
        ("proxy.invalid:hunter2", "no valid HTTP response; check the URL"),
    ],
    ids=["refuses", "unknown", "no URL"],
)
@pytest.mark.usefixtures("resolver")
def test_proxy_that_cannot_be_used_is_reported(
    proxy: str, error: str, listener: socket.socket, environment: pytest.MonkeyPatch
) -> None:
    if not proxy:
        refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
        proxy = Proxy(listener, lambda connection: connection.sendall(refusal)).url
    environment.setenv("https_proxy", proxy)
    by = "over the proxy of the environment: "
    assert post_error(receiver_at("https://hooks.example/")) == by + error
