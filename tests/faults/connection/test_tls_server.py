"""TLS against a real server: server and client certificates, and channel binding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.certificates import Certificate, authority, certificate
from tests.support.workers import Worker
from tools.postgres import Postgres
from tools.postgres_account import give_to_postgres, open_directory, remove_directory

GATEWAY = ["get_value", "gateway"]
#: A version whose binaries support TLS.
VERSION = 17


@pytest.fixture(scope="module")
def certificates(module_directory: Path) -> dict[str, Certificate]:
    ours = authority(module_directory, "ours")
    return {
        "ours": ours,
        "others": authority(module_directory, "others"),
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


def connected_status(url: str) -> dict[str, Any]:
    """Returns the status of a worker that connects and loads twice."""
    with Worker(url, STARTUP_TIMEOUT=10) as worker:
        worker.ask(*GATEWAY)
        status: dict[str, Any] = worker.ask("status")
        assert status["ready"], status
        worker.ask("refresh")
        assert worker.ask(*GATEWAY) == "stripe"
        return status


def failed_status(url: str) -> dict[str, Any]:
    """Returns the status of a worker whose first attempt to connect fails."""
    with Worker(url, STARTUP_TIMEOUT=0.1) as worker:
        worker.ask(*GATEWAY)
        worker.sees(["failed", 1], True, within=10)
        return dict(worker.ask("status"))


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
def test_worker_over_tls_listens(
    sslmode: str, address: str, certificates: dict[str, Certificate]
) -> None:
    url = make_conninfo(
        address, sslmode=sslmode, sslrootcert=str(certificates["ours"].file), host="localhost"
    )
    assert connected_status(url)["mode"] == "live"


def test_server_of_an_unknown_authority_is_rejected(
    address: str, certificates: dict[str, Certificate]
) -> None:
    url = make_conninfo(
        address, sslmode="verify-full", sslrootcert=str(certificates["others"].file)
    )
    status = failed_status(url)
    assert not status["ready"]
    assert "cannot be protected" in status["last_error"]


def test_client_certificate_is_accepted(address: str, certificates: dict[str, Certificate]) -> None:
    shop = certificates["shop"]
    url = make_conninfo(
        address, user="shop", sslmode="require", sslcert=str(shop.file), sslkey=str(shop.key)
    )
    assert connected_status(url)["mode"] == "live"


def test_role_without_its_client_certificate_is_rejected(address: str) -> None:
    status = failed_status(make_conninfo(address, user="shop", sslmode="require"))
    assert not status["ready"]
    assert "log-in was refused" in status["last_error"]


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_password_with_channel_binding_is_accepted(binding: str, address: str) -> None:
    url = make_conninfo(address, user="clerk", password="battery staple", sslmode="require")
    assert connected_status(make_conninfo(url, channel_binding=binding))["mode"] == "live"


def test_password_without_tls_is_rejected(address: str) -> None:
    url = make_conninfo(address, user="clerk", password="battery staple", sslmode="disable")
    status = failed_status(url)
    assert not status["ready"]
    assert "battery" not in status["last_error"]
