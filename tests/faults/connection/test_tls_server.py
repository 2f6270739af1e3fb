"""TLS with a real server: server and client certificates, and channel binding.

tests/system/connection/test_tls.py has what is refused.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.certificates import Certificate, authority, certificate
from tests.support.workers import Worker
from tools.postgres import Postgres
from tools.postgres_account import give_to_postgres, open_directory, remove_directory

#: A version whose binaries support TLS.
VERSION = 17


@pytest.fixture(scope="module")
def certificates(module_directory: Path) -> dict[str, Certificate]:
    ours = authority(module_directory, "ours")
    return {
        "ours": ours,
        "server": certificate(module_directory, "server", ours),
        "shop": certificate(module_directory, "shop", ours),
    }


@pytest.fixture(scope="module")
def module_directory() -> Iterator[Path]:
    directory = open_directory()
    yield directory
    remove_directory(directory)


@pytest.fixture(scope="module")
def address(certificates: dict[str, Certificate], module_directory: Path) -> Iterator[str]:
    """The address of a server that accepts passwords and certificates, over TLS only."""
    rules = module_directory / "hba"
    rules.write_text(
        "hostssl all shop all cert\n"
        "hostssl all clerk all scram-sha-256\n"
        "host all postgres 127.0.0.1/32 trust\n"
    )
    give_to_postgres(certificates["server"].key)
    settings = {
        "hba_file": str(rules),
        "ssl": "on",
        "ssl_cert_file": str(certificates["server"].file),
        "ssl_key_file": str(certificates["server"].key),
        "ssl_ca_file": str(certificates["ours"].file),
    }
    with Postgres(version=VERSION, settings=settings) as server:
        with Worker(server.url) as worker:
            worker.ask("migrate")
        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute("CREATE ROLE shop LOGIN SUPERUSER PASSWORD 'correct horse'")
            owner.execute("CREATE ROLE clerk LOGIN SUPERUSER PASSWORD 'battery staple'")
            owner.execute(
                "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '\"stripe\"')"
            )
        yield server.url


def connect(url: str, **parameters: str) -> None:
    """A worker with these parameters connects, loads twice, and listens."""
    with Worker(make_conninfo(url, **parameters), STARTUP_TIMEOUT=10) as worker:
        worker.ask("refresh")
        assert worker.ask("get_value", "gateway") == "stripe"
        worker.sees(["mode"], "live", within=5)


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
def test_worker_over_tls_listens(
    sslmode: str, address: str, certificates: dict[str, Certificate]
) -> None:
    root = str(certificates["ours"].file)
    connect(address, sslmode=sslmode, sslrootcert=root, host="localhost")


def test_client_certificate_is_accepted(address: str, certificates: dict[str, Certificate]) -> None:
    files = {"sslcert": str(certificates["shop"].file), "sslkey": str(certificates["shop"].key)}
    connect(address, user="shop", sslmode="require", **files)


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_password_with_channel_binding_is_accepted(binding: str, address: str) -> None:
    clerk = {"user": "clerk", "password": "battery staple"}
    connect(address, **clerk, sslmode="require", channel_binding=binding)
