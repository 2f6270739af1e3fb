"""Each `sslmode` means what libpq means: libpq is asked beside the engine."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.certificates import Certificate, authority, certificate
from tests.conftest import RunIsolated
from tests.tls_door import Door
from tools.postgres import Postgres

Settings = dict[str, str]
Outcome = list[str | None]
Connect = Callable[..., list[Outcome]]
OpenDoor = Callable[..., Door]

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
RUN = "from tests.tls_process import main; main()"
UNSAFE = "connect: the connection cannot be protected as it should be: "
UNUSABLE = "connect: the connection parameters cannot be used: "


@dataclass(frozen=True)
class Papers:
    """Who vouches for whom: `ours` is the authority to trust, `theirs` is not."""

    directory: Path
    ours: Certificate
    theirs: Certificate
    #: Of a server that is who it says.
    good: Certificate
    #: Of a client.
    alice: Certificate


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    directory = tmp_path_factory.mktemp("certificates")
    ours = authority(directory, "ours")
    return Papers(
        directory,
        ours,
        theirs=authority(directory, "theirs"),
        good=certificate(directory, "good", ours),
        alice=certificate(directory, "alice", ours),
    )


@pytest.fixture
def open_door(module_postgres_server: Postgres) -> OpenDoor:
    """A server with this certificate."""
    return partial(Door, module_postgres_server.port)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".postgresql").mkdir()
    return tmp_path


@pytest.fixture
def connect(run_isolated: RunIsolated, home: Path) -> Connect:
    """Connect with each of these settings: the engine's link, its pool, and libpq."""

    def connect(door: Door, *cases: Settings) -> list[Outcome]:
        base = {"host": "localhost", "hostaddr": "127.0.0.1", "port": str(door.port)}
        base |= {"user": "postgres", "dbname": "postgres"}
        given = [base | case for case in cases]
        environment = {"HOME": str(home), "DJANGO_SETTINGS_MODULE": "tests.settings"}
        found: list[Outcome] = json.loads(run_isolated(RUN, json.dumps(given), **environment))
        return found

    return connect


SERVERS: dict[str, Callable[[Path, Certificate], Certificate | None]] = {
    "good": lambda directory, ours: certificate(directory, "as it should be", ours),
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
    server: str, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    made = SERVERS[server](papers.directory, papers.ours)
    right = made if made and server.startswith("own-authority") else papers.ours
    roots = [{"sslrootcert": str(root.file)} for root in (right, papers.theirs)]
    cases = [{"sslmode": mode} | root for mode in MODES for root in (*roots, {})]
    with open_door(made) as door:
        outcomes = connect(door, *cases)
    for case, [link, pool, libpq] in zip(cases, outcomes, strict=True):
        found = (case, link, pool, libpq)
        assert (link is None, pool is None) == (libpq is None, libpq is None), found
        assert link == pool
        assert link is None or not any(word in link for word in ("localhost", "127.0.0.1", "db."))


ENCRYPTED = {"disable": "plain", "allow": "plain"}


@pytest.mark.parametrize("mode", MODES)
def test_connection_is_encrypted_where_libpq_encrypts_it(
    mode: str, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    with open_door(papers.good) as door:
        connect(door, {"sslmode": mode, "sslrootcert": str(papers.ours.file)})
        assert set(door.seen) == {ENCRYPTED.get(mode, "tls")}


def test_prefer_goes_on_without_where_there_is_none(connect: Connect, open_door: OpenDoor) -> None:
    with open_door() as door:
        assert connect(door, {"sslmode": "prefer"}) == [[None, None, None]]
        assert set(door.seen) == {"plain"}


def test_prefer_goes_on_without_where_the_handshake_fails(
    papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    settings = {"sslmode": "prefer", "ssl_min_protocol_version": "TLSv1.3"}
    with open_door(papers.good, version=ssl.TLSVersion.TLSv1_2) as door:
        assert connect(door, settings) == [[None, None, None]]
        assert set(door.seen) == {"plain"}


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
def test_refusal_says_what_to_look_at(
    what: str, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    made = papers.good if what == "theirs" else SERVERS[what](papers.directory, papers.ours)
    root = papers.theirs if what == "theirs" else papers.ours
    settings = {"sslmode": "verify-full", "sslrootcert": str(root.file), "password": "hunter2"}
    with open_door(made) as door:
        [[link, pool, _]] = connect(door, settings)
    assert (link, pool) == (UNSAFE + REFUSALS[what], UNSAFE + REFUSALS[what])


def test_version_of_tls_that_is_not_let_in(
    papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    settings = {"sslmode": "require", "ssl_min_protocol_version": "TLSv1.3"}
    with open_door(papers.good, version=ssl.TLSVersion.TLSv1_2) as door:
        assert connect(door, settings | {"ssl_min_protocol_version": "TLSv1.2"})[0][0] is None
        [[link, _, libpq]] = connect(door, settings)
    assert libpq
    assert link == (
        UNSAFE + "the server supports no accepted version of TLS, see ssl_min_protocol_version"
    )


def test_direct_handshake(papers: Papers, connect: Connect, open_door: OpenDoor) -> None:
    settings = {
        "sslmode": "verify-full",
        "sslrootcert": str(papers.ours.file),
        "sslnegotiation": "direct",
    }
    with open_door(papers.good) as door:
        assert connect(door, settings, settings | {"sslsni": "0"}) == [[None] * 3] * 2


def test_default_roots_are_those_of_the_user(
    home: Path, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    with open_door(papers.good) as door:
        [[link, _, libpq]] = connect(door, {"sslmode": "verify-full"})
        assert libpq
        assert link == (
            f"{UNUSABLE}sslmode asks for a verified certificate, but there is no "
            "~/.postgresql/root.crt: name a file, or system, by sslrootcert"
        )
        (home / ".postgresql" / "root.crt").write_bytes(papers.ours.file.read_bytes())
        assert connect(door, {"sslmode": "verify-full"}) == [[None, None, None]]
        (home / ".postgresql" / "root.crl").touch()
        [[link, _, _]] = connect(door, {"sslmode": "verify-full"})
        assert link == f"{UNUSABLE}~/.postgresql/root.crl is there, but sslcrl is not supported"


def test_roots_of_the_system(
    papers: Papers, connect: Connect, open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.ours.file))
    with open_door(papers.good) as door:
        assert connect(door, {"sslrootcert": "system"}) == [[None, None, None]]


def test_file_of_roots_that_is_of_no_use(
    tmp_path: Path, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    empty = tmp_path / "empty.crt"
    empty.touch()
    cases = [{"sslmode": "require", "sslrootcert": str(file)} for file in (empty, "/nowhere")]
    with open_door(papers.good) as door:
        [[of_empty, _, _], [of_none, _, _]] = connect(door, *cases)
    assert of_empty == f"{UNUSABLE}the file of sslrootcert holds no certificate"
    assert of_none == f"{UNUSABLE}the file of sslrootcert does not exist"


def shown(client: Certificate, **others: str) -> Settings:
    return {"sslmode": "require", "sslcert": str(client.file), "sslkey": str(client.key)} | others


def test_client_with_a_certificate_is_let_in(
    papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    with open_door(papers.good, clients=papers.ours) as door:
        assert connect(door, shown(papers.alice)) == [[None, None, None]]
        for settings in ({"sslmode": "require"}, shown(papers.alice, sslcertmode="disable")):
            [[link, _, libpq]] = connect(door, settings)
            assert libpq
            # The server may be gone before its reason is read.
            assert link
            assert link.startswith((UNSAFE, "connect: the server cannot be reached"))


def test_certificate_of_the_user_is_shown_unasked(
    home: Path, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    (home / ".postgresql" / "postgresql.crt").write_bytes(papers.alice.file.read_bytes())
    (home / ".postgresql" / "postgresql.key").touch(mode=0o600)
    (home / ".postgresql" / "postgresql.key").write_bytes(papers.alice.key.read_bytes())
    with open_door(papers.good, clients=papers.ours) as door:
        assert connect(door, {"sslmode": "require"}) == [[None, None, None]]


KEYS = {
    "open": (
        "the file of sslkey is open to others: it must be a plain file with mode 0600, or 0640 if "
        "root owns it"
    ),
    "encrypted": (
        "the file of sslkey is encrypted, which is not supported: keep the key without a "
        "password, readable by its owner alone"
    ),
    "missing": "the file of sslkey, the key of sslcert, does not exist",
    "another": "sslkey is not the key of sslcert",
}


@pytest.mark.parametrize("what", KEYS)
def test_key_that_is_of_no_use(
    what: str, tmp_path: Path, papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    client = certificate(
        tmp_path, what, papers.ours, password=b"x" if what == "encrypted" else None
    )
    settings = shown(client)
    if what == "open":
        client.key.chmod(0o644)
    elif what == "missing":
        client.key.unlink()
    elif what == "another":
        settings["sslkey"] = str(papers.alice.key)
    with open_door(papers.good, clients=papers.ours) as door:
        [[link, _, libpq]] = connect(door, settings)
    assert libpq
    assert link == UNUSABLE + KEYS[what]


def test_channel_binding_that_the_server_does_not_do(
    papers: Papers, connect: Connect, open_door: OpenDoor
) -> None:
    settings = {"sslmode": "require", "channel_binding": "require", "password": "hunter2"}
    with open_door(papers.good) as door:
        [[link, pool, libpq]] = connect(door, settings)
    assert libpq
    expected = f"{UNSAFE}the log-in was not bound to TLS, see channel_binding"
    assert (link, pool) == (expected, expected)
