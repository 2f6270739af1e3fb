"""Each `sslmode` works as in libpq, which connects beside the engine."""

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.certificates import Certificate, authority, certificate
from tests.support.python_processes import STRICT, run_python
from tests.support.tls_proxy import TlsProxy
from tools.postgres import Postgres

Parameters = dict[str, str]
Outcome = list[str | None]
Connect = Callable[..., list[Outcome]]
StartProxy = Callable[..., TlsProxy]

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
UNSAFE = "connect: the connection cannot be protected as it should be: "
UNUSABLE = "connect: the connection parameters cannot be used: "


@dataclass(frozen=True)
class Certificates:
    """Two authorities, and certificates of the first: `ours` is trusted, `theirs` is not."""

    directory: Path
    ours: Certificate
    theirs: Certificate
    #: Of a server with the right host name.
    good: Certificate
    #: Of a client.
    alice: Certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    ours = authority(directory, "ours")
    return Certificates(
        directory,
        ours,
        theirs=authority(directory, "theirs"),
        good=certificate(directory, "good", ours),
        alice=certificate(directory, "alice", ours),
    )


@pytest.fixture
def start_proxy(module_postgres_server: Postgres) -> StartProxy:
    """Starts a server with the given certificate."""
    return partial(TlsProxy, module_postgres_server.port)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".postgresql").mkdir()
    return tmp_path


@pytest.fixture
def connect(module_postgres_server: Postgres, home: Path) -> Connect:
    """Connects with each of the given parameters: the engine and libpq."""

    def connect(proxy: TlsProxy, *cases: Parameters) -> list[Outcome]:
        base = {"host": "localhost", "hostaddr": "127.0.0.1", "port": str(proxy.port)}
        base |= {"user": "postgres", "dbname": "postgres"}
        all_cases = [base | case for case in cases]
        process = (*STRICT, "-m", "tests.support.tls_process", json.dumps(all_cases))
        ran = run_python(module_postgres_server.url, *process, HOME=str(home))
        outcomes: list[Outcome] = json.loads(ran.stdout)
        return outcomes

    return connect


SERVERS: dict[str, Callable[[Path, Certificate], Certificate | None]] = {
    "good": lambda directory, ours: certificate(directory, "valid", ours),
    "other-host": lambda directory, ours: certificate(directory, "other", ours, host="db.example"),
    "expired": lambda directory, ours: certificate(directory, "expired", ours, expired=True),
    "own-authority": lambda directory, ours: authority(directory, "own"),
    "own-authority-expired": lambda directory, ours: authority(directory, "old", expired=True),
    "own-authority-other-host": lambda directory, ours: certificate(
        directory, "elsewhere", host="db.example", is_authority=True
    ),
    "without": lambda directory, ours: None,
}


@pytest.mark.parametrize("server", SERVERS)
def test_engine_connects_where_libpq_does(
    server: str, certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    made = SERVERS[server](certificates.directory, certificates.ours)
    right = made if made and server.startswith("own-authority") else certificates.ours
    roots = [{"sslrootcert": str(root.file)} for root in (right, certificates.theirs)]
    cases = [{"sslmode": mode} | root for mode in MODES for root in (*roots, {})]
    with start_proxy(made) as proxy:
        outcomes = connect(proxy, *cases)
    for case, [link, libpq] in zip(cases, outcomes, strict=True):
        assert (link is None) == (libpq is None), (case, link, libpq)
        assert link is None or not any(word in link for word in ("localhost", "127.0.0.1", "db."))


@pytest.mark.parametrize(("expected", "modes"), [("plain", MODES[:2]), ("tls", MODES[2:])])
def test_connection_is_encrypted_where_libpq_encrypts_it(
    expected: str,
    modes: list[str],
    certificates: Certificates,
    connect: Connect,
    start_proxy: StartProxy,
) -> None:
    root = {"sslrootcert": str(certificates.ours.file)}
    with start_proxy(certificates.good) as proxy:
        outcomes = connect(proxy, *({"sslmode": mode} | root for mode in modes))
        assert outcomes == [[None, None]] * len(modes)
        assert set(proxy.seen) == {expected}


REFUSALS = {
    "theirs": "the server's certificate is not signed by one of sslrootcert",
    "other-host": (
        "the server's certificate does not name HOST among its alternative names, see HOST, or "
        "sslmode if that is known"
    ),
    "expired": "the server's certificate has expired",
    "own-authority": "the server's certificate is an authority's own, and not one of sslrootcert",
    "without": "the server offers no TLS, see sslmode",
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal_names_the_parameter_to_check(
    what: str, certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    made = (
        certificates.good
        if what == "theirs"
        else SERVERS[what](certificates.directory, certificates.ours)
    )
    root = certificates.theirs if what == "theirs" else certificates.ours
    parameters = {"sslmode": "verify-full", "sslrootcert": str(root.file), "password": "hunter2"}
    with start_proxy(made) as proxy:
        [[link, _]] = connect(proxy, parameters)
    assert link == UNSAFE + REFUSALS[what]


def test_tls_version_below_the_minimum_is_refused_or_not_used(
    certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    newest = {"ssl_min_protocol_version": "TLSv1.3"}
    with start_proxy(certificates.good, version=ssl.TLSVersion.TLSv1_2) as proxy:
        assert connect(proxy, {"sslmode": "prefer"} | newest) == [[None, None]]
        assert set(proxy.seen) == {"plain"}
        [[usual, _], [link, libpq]] = connect(
            proxy,
            {"sslmode": "require", "ssl_min_protocol_version": "TLSv1.2"},
            {"sslmode": "require"} | newest,
        )
    assert usual is None
    assert libpq
    assert link == (
        UNSAFE + "the server supports no accepted version of TLS, see ssl_min_protocol_version"
    )


def test_direct_negotiation_connects(
    certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    parameters = {
        "sslmode": "verify-full",
        "sslrootcert": str(certificates.ours.file),
        "sslnegotiation": "direct",
    }
    with start_proxy(certificates.good) as proxy:
        assert connect(proxy, parameters, parameters | {"sslsni": "0"}) == [[None, None]] * 2


def test_default_root_certificates_are_the_users(
    home: Path, certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    with start_proxy(certificates.good) as proxy:
        [[link, libpq]] = connect(proxy, {"sslmode": "verify-full"})
        assert libpq
        assert link == (
            f"{UNUSABLE}sslmode asks for a verified certificate, but there is no "
            "~/.postgresql/root.crt: name a file, or system, by sslrootcert"
        )
        (home / ".postgresql" / "root.crt").write_bytes(certificates.ours.file.read_bytes())
        assert connect(proxy, {"sslmode": "verify-full"}) == [[None, None]]
        (home / ".postgresql" / "root.crl").touch()
        [[link, _]] = connect(proxy, {"sslmode": "verify-full"})
        assert link == f"{UNUSABLE}~/.postgresql/root.crl is there, but sslcrl is not supported"


def test_system_root_certificates_are_trusted(
    certificates: Certificates,
    connect: Connect,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ours.file))
    with start_proxy(certificates.good) as proxy:
        assert connect(proxy, {"sslrootcert": "system"}) == [[None, None]]


def with_client_certificate(client: Certificate, **others: str) -> Parameters:
    return {"sslmode": "require", "sslcert": str(client.file), "sslkey": str(client.key)} | others


def test_client_with_a_certificate_connects(
    certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    with start_proxy(certificates.good, clients=certificates.ours) as proxy:
        connected, *refused = connect(
            proxy,
            with_client_certificate(certificates.alice),
            {"sslmode": "require"},
            with_client_certificate(certificates.alice, sslcertmode="disable"),
        )
    assert connected == [None, None]
    for link, libpq in refused:
        assert libpq
        # The server may close the connection before its error is read.
        assert link
        assert link.startswith((UNSAFE, "connect: the server cannot be reached"))


def test_default_client_certificate_is_the_users(
    home: Path, certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    (home / ".postgresql" / "postgresql.crt").write_bytes(certificates.alice.file.read_bytes())
    (home / ".postgresql" / "postgresql.key").touch(mode=0o600)
    (home / ".postgresql" / "postgresql.key").write_bytes(certificates.alice.key.read_bytes())
    with start_proxy(certificates.good, clients=certificates.ours) as proxy:
        assert connect(proxy, {"sslmode": "require"}) == [[None, None]]


UNUSABLE_FILES = {
    "open key": (
        "the file of sslkey is open to others: it must be a plain file with mode 0600, or 0640 if "
        "root owns it"
    ),
    "encrypted key": (
        "the file of sslkey is encrypted, which is not supported: keep the key without a "
        "password, readable by its owner alone"
    ),
    "missing key": "the file of sslkey, the key of sslcert, does not exist",
    "another key": "sslkey is not the key of sslcert",
    "empty root": "the file of sslrootcert holds no certificate",
    "missing root": "the file of sslrootcert does not exist",
}


def test_unusable_file_of_a_key_or_of_roots_is_refused(
    tmp_path: Path, certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    clients = {
        name: certificate(tmp_path, name, certificates.ours, password=password)
        for name, password in [("open", None), ("encrypted", b"x"), ("missing", None)]
    }
    clients["open"].key.chmod(0o644)
    clients["missing"].key.unlink()
    empty = tmp_path / "empty.crt"
    empty.touch()
    cases = [
        *map(with_client_certificate, clients.values()),
        with_client_certificate(clients["open"], sslkey=str(certificates.alice.key)),
        *({"sslmode": "require", "sslrootcert": str(file)} for file in (empty, "/nowhere")),
    ]
    with start_proxy(certificates.good, clients=certificates.ours) as proxy:
        outcomes = connect(proxy, *cases)
    expected = [UNUSABLE + why for why in UNUSABLE_FILES.values()]
    assert [link for link, _libpq in outcomes] == expected
    # libpq refuses the same keys.
    assert all(libpq for _link, libpq in outcomes[:4])


def test_required_channel_binding_fails_if_the_server_lacks_it(
    certificates: Certificates, connect: Connect, start_proxy: StartProxy
) -> None:
    parameters = {"sslmode": "require", "channel_binding": "require", "password": "hunter2"}
    with start_proxy(certificates.good) as proxy:
        [[link, libpq]] = connect(proxy, parameters)
    assert libpq
    expected = f"{UNSAFE}the log-in was not bound to TLS, see channel_binding"
    assert link == expected
